//! What is kept about every call: its bill, its record, its figures.
//!
//! A call gets an [`Entry`] when it comes in. Whatever happens then, the entry is closed once:
//! with the answer, with the end of its stream, with what refused it, or, dropped before any of
//! these, because the client left.

use std::{
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, ready};
use http::StatusCode;
use serde::Serialize;
use steadfast_core::{
    Failure, World,
    observe::{Observer, Signal},
};

use crate::{
    admission::Seat,
    answer::{About, Answer, Body, CacheResult, Degraded, Frame, Frames, Sense},
    budget::{
        bound::Bound,
        ledger::{AccountId, Claim, Figures, Ledger, Refused},
        prices::{Price, Prices},
        rules::{self, Rule},
    },
    call::{Call, Operation},
    config::{ModelsConfig, RecordMode},
    failure::Tried,
    keys::Taken,
    record::{Bill, End, Opening, RecordError, Recorder},
    rejected::Rejected,
    usd::Usd,
    vitals::Vitals,
};

/// A client that left before its answer was whole, as proxies write it.
const LEFT: u16 = 499;

/// One that a call may be sent to.
pub(crate) struct Prospect<'a> {
    pub(crate) provider: &'a Arc<str>,
    pub(crate) local: bool,
    pub(crate) model: &'a str,
}

/// All books.
pub(crate) struct Books {
    prices: Arc<Prices>,
    rules: Arc<[Rule]>,
    ledger: Arc<Ledger>,
    recorder: Option<Arc<Recorder>>,
    config: ModelsConfig,
    pub(crate) vitals: Arc<Vitals>,
    world: World,
    observer: Arc<dyn Observer>,
}

impl Books {
    /// Books that nothing is written down of.
    pub(crate) fn new(config: &ModelsConfig, world: &World, observer: &Arc<dyn Observer>) -> Self {
        Self {
            prices: Arc::new(Prices::new(config)),
            rules: rules::rules(&config.budget),
            ledger: Arc::new(Ledger::in_memory()),
            recorder: None,
            config: config.clone(),
            vitals: Arc::new(Vitals::new(world)),
            world: world.clone(),
            observer: observer.clone(),
        }
    }
    /// The same, kept in a file.
    pub(crate) fn kept(mut self, file: &Path) -> Result<Self, RecordError> {
        let ahead = self.config.budget.booked.get();
        let (rules, records) = (self.rules.clone(), &self.config.records);
        let ledger = |wake: Box<dyn Fn() + Send + Sync>| Arc::new(Ledger::kept(ahead, wake));
        let (recorder, ledger) = Recorder::start(file, records, rules, &self.world, ledger)?;
        (self.ledger, self.recorder) = (ledger, Some(Arc::new(recorder)));
        Ok(self)
    }
    /// The same books under another configuration. How much is booked ahead, and when records
    /// are forgotten, stays as it is until the next start.
    pub(crate) fn reloaded(&self, config: &ModelsConfig) -> Self {
        let rules = rules::rules(&config.budget);
        if let Some(recorder) = &self.recorder {
            recorder.ruled_by(rules.clone());
            self.ledger.ruled_by(|id| rules::in_force(&rules, id));
        }
        Self {
            prices: Arc::new(Prices::new(config)),
            rules,
            ledger: self.ledger.clone(),
            recorder: self.recorder.clone(),
            config: config.clone(),
            vitals: self.vitals.clone(),
            world: self.world.clone(),
            observer: self.observer.clone(),
        }
    }
    /// What `provider` takes for `model`.
    pub(crate) fn price(&self, of: &Prospect<'_>) -> Option<Price> {
        self.prices.find(of.provider, of.local, of.model)
    }
    /// A call comes in.
    pub(crate) fn open(self: &Arc<Self>, call: &mut Call, route: Option<&Arc<str>>) -> Entry {
        let opening = Opening {
            n: self.recorder.as_ref().map_or(0, |recorder| recorder.number()),
            begun: self.world.now(),
            labels: call.options.labels.clone().unwrap_or_default(),
            route: route.cloned().unwrap_or_default(),
        };
        let bill = Arc::new(Bill::new(call, opening, &self.prices, &self.world));
        call.bill = Some(bill.clone());
        if let Some(recorder) = &self.recorder {
            recorder.opened(&bill);
        }
        let operation = call.operation.name();
        Entry { books: self.clone(), bill, operation, taken: None, about: About::default(), open: true }
    }
    /// Estimates what a call may cost at most, and reserves it with all limits that hold for
    /// it: those of the configuration, and `more`. Returns how long an answer may be, where a limit
    /// wants every provider to be told.
    pub(crate) async fn reserve<'a>(
        &self,
        call: &Call,
        route: &Arc<str>,
        prospects: impl Iterator<Item = Prospect<'a>>,
        more: Vec<Claim>,
    ) -> Result<Option<u64>, Rejected> {
        let Some(bill) = &call.bill else { return Ok(None) };
        let mut claims = more;
        if self.config.budget.enabled {
            self.check_name(call)?;
            let about = rules::About { call, route, now: self.world.now() };
            claims.extend(self.rules.iter().filter_map(|rule| rule.claim(&about)));
        }
        bill.bounded(Bound::of(call, &self.config.budget));
        if claims.is_empty() {
            return Ok(None);
        }
        if let Some(member) = call.asked.dearer {
            return Err(dearer(member));
        }
        if self.recorder.as_ref().is_some_and(|recorder| !recorder.keeps_up()) {
            return Err(unrecorded());
        }
        let bound = bill.bound();
        let mut most = Usd::ZERO;
        for prospect in prospects {
            let price = self.price(&prospect).ok_or_else(|| unpriced(&prospect))?;
            most = most.max(price.bound(bound.input, bound.output, bound.seconds));
        }
        let reservation = self.ledger.reserve(claims, most, self.world.now()).await;
        bill.held(reservation.map_err(over_budget)?);
        let says = !matches!(call.operation, Operation::Embeddings | Operation::Transcription);
        Ok(says.then(|| call.asked.output_max.unwrap_or(self.config.budget.output_max.get().into())))
    }
    /// A call comes in that `asker` needs answered first. It is recorded by itself, as of the
    /// asker's route, which limits look at.
    pub(crate) fn open_for(self: &Arc<Self>, asker: &Call, call: &mut Call, route: &Arc<str>) -> Entry {
        let of = asker.bill.as_ref().map(|bill| bill.route());
        self.open(call, Some(of.as_ref().unwrap_or(route)))
    }
    /// The same as [`Self::reserve`], with all limits that hold for `asker`.
    pub(crate) async fn reserve_for<'a>(
        &self,
        asker: &Call,
        call: &Call,
        route: &Arc<str>,
        prospects: impl Iterator<Item = Prospect<'a>>,
    ) -> Result<(), Rejected> {
        let (mut of, mut more) = (route.clone(), Vec::new());
        if let Some(bill) = &asker.bill {
            (of, more) = (bill.route(), bill.claims());
            // Those of the configuration are found again, that of a key is not.
            more.retain(|claim| self.rules.iter().all(|rule| rule.id != claim.account.rule));
        }
        self.reserve(call, &of, prospects, more).await.map(drop)
    }
    fn check_name(&self, call: &Call) -> Result<(), Rejected> {
        let Some(name) = &call.options.budget else { return Ok(()) };
        if self.rules.iter().any(|rule| rule.name() == name) {
            return Ok(());
        }
        let name = steadfast_core::shown(name, 64);
        let message = format!("there is no budget {name:?}: add [models.budget.limits.{name:?}] to have one");
        let rejected = Rejected::new(Failure::refused("budget.unknown", message), StatusCode::BAD_REQUEST);
        Err(Rejected { param: Some("x-steadfast-budget".into()), ..rejected })
    }
    /// Before a provider is asked: the intent is on the disk, if records are durable.
    pub(crate) async fn intend(&self, call: &Call) -> Result<(), Rejected> {
        let records = &self.config.records;
        if records.mode != RecordMode::Durable || !records.enabled {
            return Ok(());
        }
        match (&self.recorder, &call.bill) {
            (Some(recorder), Some(bill)) if !recorder.intend(bill).await => Err(unrecorded()),
            _ => Ok(()),
        }
    }
    /// Writes down all that has ended. False if that cannot be.
    pub(crate) async fn flush(&self) -> bool {
        match &self.recorder {
            Some(recorder) => recorder.flush().await,
            None => true,
        }
    }
    /// How all accounts of limits stand that were used of late.
    pub(crate) fn spending(&self) -> Vec<Spending> {
        let of = |(id, spent, reserved): (AccountId, Usd, Usd)| Spending {
            budget: id.rule.split(' ').next().unwrap_or_default().into(),
            of: id.value,
            spent,
            reserved,
        };
        self.ledger.standing().into_iter().map(of).collect()
    }
    /// Calls whose records the disk did not take.
    pub(crate) fn lost(&self) -> u64 {
        self.recorder.as_ref().map_or(0, |recorder| recorder.lost())
    }
}

/// How an account of a limit stands, in the present window or one that calls are open of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spending {
    /// The limit.
    pub budget: String,
    /// Whose account. Users, keys and runs stand after their tenant: `acme/ana`, or `acme/` for
    /// those without a name.
    pub of: Arc<str>,
    /// What was spent.
    pub spent: Usd,
    /// What calls under way may cost.
    pub reserved: Usd,
}

fn unrecorded() -> Rejected {
    let message = "what is spent cannot be written down at present, so nothing may be spent: \
        see that the disk of the data folder has room and can be written";
    let failure = Failure { nothing_happened: true, ..Failure::internal("budget.unrecorded", message) };
    Rejected::new(failure.retryable(), StatusCode::SERVICE_UNAVAILABLE)
}

fn unpriced(of: &Prospect<'_>) -> Rejected {
    let (model, provider) = (steadfast_core::shown(of.model, 80), of.provider);
    let message = format!(
        "a limit holds for this call, and nobody knows what provider {provider} takes for {model:?}: add \
         [models.prices.{model:?}] with input and output in dollars for a million tokens, such as input = \"2.50\""
    );
    Rejected::new(Failure::refused("budget.unpriced", message), StatusCode::PAYMENT_REQUIRED)
}

fn dearer(member: &'static str) -> Rejected {
    let message = format!(
        "a limit holds for this call, and `{member}` asks for a tariff that may cost more than the prices that \
         limits know: leave it out, or ask for the usual one"
    );
    let rejected = Rejected::new(Failure::refused("budget.tariff", message), StatusCode::BAD_REQUEST);
    Rejected { param: Some(member.into()), ..rejected }
}

/// The figures, for people and for programs.
fn exceeded(figures: &Figures) -> Failure {
    let Figures { name, value, limit, spent, reserved, asked, ends_in } = figures;
    let ends = ends_in.map(|it| it.as_secs());
    let again = match ends {
        Some(seconds) => format!("; it begins anew in {} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        None => String::new(),
    };
    let message = format!(
        "limit {name:?} of ${limit} for {value:?} does not allow this call: ${spent} are spent, ${reserved} \
         reserved, and it may cost ${asked}{again}"
    );
    let figures = serde_json::json!({
        "budget": name, "of": value, "limit_usd": limit, "spent_usd": spent, "reserved_usd": reserved,
        "asked_usd": asked, "ends_in_seconds": ends,
    });
    Failure::refused("budget.exceeded", message).with_data(figures)
}

fn over_budget(refused: Refused) -> Rejected {
    match refused {
        Refused::Unrecorded => unrecorded(),
        Refused::Exceeded(figures) => Rejected {
            again: figures.ends_in,
            ..Rejected::new(exceeded(&figures), StatusCode::PAYMENT_REQUIRED)
        },
    }
}

/// Why an attempt is not made, in words.
pub(crate) fn unaffordable(refused: &Refused) -> String {
    match refused {
        Refused::Exceeded(figures) => exceeded(figures).message,
        Refused::Unrecorded => unrecorded().failure.message,
    }
}

/// One call in the books.
pub(crate) struct Entry {
    books: Arc<Books>,
    bill: Arc<Bill>,
    operation: &'static str,
    taken: Option<Taken>,
    about: About,
    open: bool,
}

impl Entry {
    /// It has a place, until it is closed.
    pub(crate) fn seated(&mut self, seat: Arc<Seat>, queued: std::time::Duration) {
        self.about.queued = queued;
        self.bill.seated(seat);
    }
    /// It took some of what its key may.
    pub(crate) fn took(&mut self, taken: Taken) {
        self.taken = Some(taken);
    }
    /// What became of it. A stream closes the entry at its own end.
    pub(crate) fn finish(mut self, result: Result<Answer, Rejected>) -> Result<Answer, Rejected> {
        let queued = self.about.queued;
        match result {
            Ok(mut answer) => {
                answer.about.queued = queued;
                self.about = answer.about.clone();
                answer.body = match answer.body {
                    Body::Whole(bytes) => {
                        answer.about.cost = self.close(answer.status.as_u16(), "");
                        Body::Whole(bytes)
                    }
                    Body::Stream(frames) => {
                        Body::Stream(Box::pin(Kept { frames: Some(frames), entry: self }))
                    }
                };
                Ok(answer)
            }
            Err(mut rejected) => {
                rejected.about.queued = queued;
                self.about = (*rejected.about).clone();
                self.close(rejected.status.as_u16(), &rejected.failure.code);
                Err(rejected)
            }
        }
    }
    fn close(&mut self, status: u16, code: &str) -> Option<Usd> {
        if !std::mem::replace(&mut self.open, false) {
            return None;
        }
        let about = std::mem::take(&mut self.about);
        let tried: Vec<Tried> = about.tried;
        for it in &tried {
            let signal = Signal::ModelAttempt { provider: &it.provider, outcome: it.class.code() };
            self.books.observer.observe(signal);
        }
        let (attempts, queued) = (about.attempts, about.queued);
        let cache = about.cache.map_or("", CacheResult::name);
        let degraded = about.degraded.map_or("", Degraded::name);
        match about.cache {
            Some(CacheResult::Hit | CacheResult::Similar) => self.books.vitals.looked_up(true),
            Some(CacheResult::Miss) => self.books.vitals.looked_up(false),
            Some(CacheResult::Bypass) | None => {}
        }
        let end = End { status, code: code.into(), attempts, tried, queued, cache, degraded };
        let ended = self.bill.end(end);
        if let Some(taken) = self.taken.take() {
            taken.settle(ended.usage);
        }
        if let Some(recorder) = &self.books.recorder {
            recorder.ended();
        }
        // What a client did wrong, or gave up, says nothing about the gateway.
        let failed = status >= 500;
        self.books.vitals.note(failed, status < 400, ended.total);
        self.books.observer.observe(Signal::ModelCall {
            operation: self.operation,
            route: &ended.route,
            provider: &ended.provider,
            status,
            input: ended.usage.input,
            cached: ended.usage.cached,
            output: ended.usage.output,
            cost_nanos: ended.cost.unwrap_or_default().nanos(),
            queued,
            first: ended.first,
            took: ended.total,
        });
        ended.cost
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(LEFT, "client.left");
    }
}

/// A stream that is in the books until it ends.
struct Kept {
    frames: Option<Frames>,
    entry: Entry,
}

impl Kept {
    /// What is under way ends first, so that its cost is known.
    fn close(&mut self, status: u16, code: &str) {
        self.frames = None;
        self.entry.close(status, code);
    }
}

impl Stream for Kept {
    type Item = Frame;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let Some(frames) = &mut self.frames else { return Poll::Ready(None) };
        let frame = ready!(frames.as_mut().poll_next(context));
        match frame.as_ref().map(|frame| &frame.sense) {
            Some(Sense::End) => self.close(200, ""),
            Some(Sense::Failed(code)) => {
                let code = *code;
                // The client was told 200 when it began; the record says how it ended.
                self.close(StatusCode::BAD_GATEWAY.as_u16(), code);
            }
            None => self.close(StatusCode::BAD_GATEWAY.as_u16(), "provider.cut"),
            Some(_) => {}
        }
        Poll::Ready(frame)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.frames = None;
    }
}
