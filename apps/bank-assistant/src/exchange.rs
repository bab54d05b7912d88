//! The assistant's run: from the first word of a request until nothing is open any more.
//! Understand, check, confirm, act, report, each a step; what is said meanwhile in the
//! same conversation comes in as signals.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steadfast_bank::{
    purchase::{PURCHASE, PurchaseRequest, Receipt},
    steps::{TRANSFER, TransferOrder},
};
use steadfast_core::{Failure, Fault, RequestId, SessionId, Time, canonical::Hash};
use steadfast_engine::{Action, ActionOptions, Ctx, Registry, WorkflowOptions};

use crate::{
    Assistant,
    check::{Pending, Question, Verdict},
    proposal::Proposal,
    report::{Reported, Say},
    session::{Confirmation, Heard, Said},
    told::Told,
    understand::{self, Expecting, Language, Understood},
};

/// The name of the workflow.
pub const ASSISTANT: &str = "bank.assistant";
/// The signal by which a run hears what is said after its first word.
pub(crate) const HEARD: &str = "heard";

/// What a run begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    pub(crate) session: SessionId,
    pub(crate) heard: Heard,
}

/// Which request the run works on from here.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Now {
    pub(crate) request: RequestId,
}

/// Something to understand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) session: SessionId,
    pub(crate) said: Said,
    pub(crate) expecting: Option<Expecting>,
}

/// Something to check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub(crate) question: Question,
}

/// A transfer to be taken back, unless the user was told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Moved {
    pub(crate) session: SessionId,
    /// What agreed to it.
    pub(crate) request: RequestId,
    pub(crate) order: TransferOrder,
}

const UNDERSTAND: Action<Listen, Understood> = Action::new("assistant.understand");
const CHECK: Action<Check, Verdict> = Action::new("assistant.check");
const REPORT: Action<Say, Reported> = Action::new("assistant.report");
const TAKE_BACK: Action<Moved, ()> = Action::new("assistant.take_back");

/// Adds the assistant to what an engine can run; the bank's own steps must be there.
pub fn register(registry: &mut Registry, assistant: &Assistant) {
    let options = || ActionOptions { timeout: Duration::from_secs(10), ..ActionOptions::default() };
    let (listening, checking, reporting) = (assistant.clone(), assistant.clone(), assistant.clone());
    let undoing = assistant.clone();
    let workflow = WorkflowOptions {
        // Nothing that is said keeps a run longer than this.
        deadline: Some(Duration::from_secs(24 * 3_600)),
        open_to_users: false,
        ..WorkflowOptions::default()
    };
    registry
        .action(&UNDERSTAND, options(), move |task, listen| {
            let assistant = listening.clone();
            async move { assistant.listen(&task, listen).await }
        })
        .action(&CHECK, options(), move |task, check: Check| {
            let assistant = checking.clone();
            async move { assistant.check(&task, check.question).await }
        })
        .commit_action(&REPORT, options(), move |task, say, record| {
            let assistant = reporting.clone();
            async move { assistant.report(task, say, record).await }
        })
        .action(&TAKE_BACK, options(), move |task, moved| {
            let assistant = undoing.clone();
            async move { assistant.take_back(&task, moved).await }
        })
        .workflow(ASSISTANT, 1, workflow, converse);
}

/// What is open between two things said.
struct Talk {
    session: SessionId,
    language: Language,
    pending: Option<Pending>,
    confirmation: Option<Confirmation>,
}

async fn converse(ctx: Ctx, first: Exchange) -> Result<Value, Failure> {
    let mut talk =
        Talk { session: first.session, language: Language::default(), pending: None, confirmation: None };
    let mut heard = first.heard;
    for n in 1_u32.. {
        ctx.progress(&Now { request: heard.request });
        let said = talk.hear(&ctx, n, &heard).await?;
        let last = talk.say(&ctx, ("report", n), said).await?;
        if !last.open {
            break;
        }
        match talk.wait(&ctx, n, last.until).await? {
            Some(next) => heard = next,
            None => break,
        }
    }
    Ok(json!({ "session": talk.session }))
}

/// What is to be said, and to whom.
struct Saying {
    told: Told,
    answers: Vec<RequestId>,
    /// Who waited for a yes to what is no longer proposed.
    void: Vec<RequestId>,
}

impl Saying {
    fn to(answers: Vec<RequestId>, told: Told) -> Self {
        Self { told, answers, void: Vec::new() }
    }
}

impl Talk {
    /// Works on what was heard, and changes what is pending.
    async fn hear(&mut self, ctx: &Ctx, n: u32, heard: &Heard) -> Result<Saying, Failure> {
        let about = match &heard.said {
            Said::Words { about, .. } => *about,
            Said::Decision { hash, accept } if self.shows(*hash) => {
                return self.decided(ctx, n, *accept, heard.request).await;
            }
            Said::Decision { .. } => return Ok(Saying::to(vec![heard.request], Told::Changed)),
        };
        let listen = Listen {
            session: self.session,
            said: heard.said.clone(),
            expecting: self.pending.as_ref().map(|pending| pending.expecting),
        };
        let understood = ctx.step(("understand", n), &UNDERSTAND, &listen).await?;
        self.language = understood.language;
        let unclear = understood.answer == Some(understand::Answer::Unclear);
        let seen = about.is_some_and(|hash| self.shows(hash));
        let question = Question { understood, pending: self.pending.clone(), seen };
        let verdict = ctx.step(("check", n), &CHECK, &Check { question }).await?;
        let mut saying = Saying::to(vec![heard.request], Told::Cancelled);
        saying.told = match verdict {
            Verdict::Say(told) => told,
            Verdict::Drop(told) => {
                saying.answers.extend(self.drop_pending());
                told
            }
            Verdict::Ask(told, pending) => {
                saying.void = self.drop_pending();
                self.pending = Some(*pending);
                told
            }
            Verdict::Propose(pending, expires) => {
                let (void, told) = self.propose(*pending, expires, heard.request, unclear)?;
                saying.void = void;
                told
            }
            Verdict::Decide(accept) => return self.decided(ctx, n, accept, heard.request).await,
        };
        Ok(saying)
    }

    fn shows(&self, hash: Hash) -> bool {
        self.confirmation.as_ref().is_some_and(|open| open.hash == hash)
    }

    /// Nothing is pending any more. The answer is who waited for a yes.
    fn drop_pending(&mut self) -> Vec<RequestId> {
        self.pending = None;
        self.confirmation.take().map(|open| open.requests).unwrap_or_default()
    }

    /// Shows a proposal, in place of the one that was shown before. The same once more is
    /// still that one: it waits for the same yes, and no longer.
    fn propose(
        &mut self,
        pending: Pending,
        expires: Time,
        request: RequestId,
        unclear: bool,
    ) -> Result<(Vec<RequestId>, Told), Failure> {
        let Some(proposal) = pending.proposal.clone() else {
            return Err(Failure::internal("assistant.no_proposal", "a proposal without arguments"));
        };
        let shown = self.pending.as_ref().and_then(|pending| pending.proposal.as_ref());
        if let Some(open) = self.confirmation.as_mut().filter(|_| shown == Some(&proposal)) {
            open.requests.push(request);
            let expires = open.expires;
            self.pending = Some(pending);
            return Ok((Vec::new(), Told::Confirm { proposal, expires, unclear }));
        }
        let void = self.drop_pending();
        let hash = proposal.hash(request)?;
        self.confirmation = Some(Confirmation { hash, expires, requests: vec![request] });
        self.pending = Some(pending);
        Ok((void, Told::Confirm { proposal, expires, unclear }))
    }

    /// A yes or no to what is pending answers also those whom it was shown.
    async fn decided(
        &mut self,
        ctx: &Ctx,
        n: u32,
        accept: bool,
        request: RequestId,
    ) -> Result<Saying, Failure> {
        let proposal = self.pending.as_mut().and_then(|pending| pending.proposal.take());
        let mut answers = vec![request];
        answers.extend(self.drop_pending().into_iter().filter(|shown_to| *shown_to != request));
        let told = match proposal {
            Some(proposal) if accept => self.act(ctx, n, proposal, request).await?,
            _ => Told::Cancelled,
        };
        Ok(Saying::to(answers, told))
    }

    async fn say(&mut self, ctx: &Ctx, step: (&str, u32), saying: Saying) -> Result<Reported, Failure> {
        let say = Say {
            session: self.session,
            answers: saying.answers,
            void: saying.void,
            told: Some(saying.told),
            language: self.language,
            open: self.pending.is_some(),
            confirmation: self.confirmation.clone(),
            only_if_silent: false,
        };
        ctx.step(step, &REPORT, &say).await
    }

    /// What is said next, or nothing any more.
    async fn wait(&mut self, ctx: &Ctx, n: u32, until: Time) -> Result<Option<Heard>, Failure> {
        let left = until.since(ctx.now());
        let next = ctx.signal::<Heard>(("heard", n), HEARD);
        if let Some(next) = ctx.timeout(("patience", n), left, next).await {
            return next.map(Some);
        }
        // Too late, unless something was heard at this very moment: the session knows.
        let requests = self.confirmation.as_ref().map(|open| open.requests.clone()).unwrap_or_default();
        let say = Say {
            session: self.session,
            told: (!requests.is_empty()).then_some(Told::Expired),
            answers: requests,
            void: Vec::new(),
            language: self.language,
            open: false,
            confirmation: None,
            only_if_silent: true,
        };
        let reported = ctx.step(("expire", n), &REPORT, &say).await?;
        if !reported.open {
            return Ok(None);
        }
        let late = ctx.signal::<Heard>(("late", n), HEARD).await?;
        // What was said in time to what was shown still counts, if its turn comes now.
        if self.confirmation.as_ref().is_some_and(|open| !late.said.is_about(open.hash)) {
            let expired = Saying::to(self.drop_pending(), Told::Expired);
            self.say(ctx, ("expired", n), expired).await?;
        }
        Ok(Some(late))
    }

    /// Does what was agreed to. That it was refused is told, not an end of the run.
    async fn act(&self, ctx: &Ctx, n: u32, proposal: Proposal, request: RequestId) -> Result<Told, Failure> {
        let outcome = match &proposal {
            Proposal::Transfer { from, to, amount, .. } => {
                let order = TransferOrder { from: from.clone(), to: to.clone(), amount: *amount };
                let moved = Moved { session: self.session, request, order: order.clone() };
                match ctx.step(("transfer", n), &TRANSFER, &order).undo(&TAKE_BACK, &moved).await {
                    // Nobody knows whether it happened: the run ends, and so it has not.
                    Err(failure) if failure.fault != Fault::Caller => return Err(failure),
                    done => {
                        done.map(|answer| Told::Transferred { id: answer.id, proposal: proposal.clone() })
                    }
                }
            }
            Proposal::Purchase { product, quantity, total, from, .. } => {
                let request = PurchaseRequest {
                    product: product.clone(),
                    quantity: *quantity,
                    from: Some(from.clone()),
                    total: Some(*total),
                };
                let done: Result<Receipt, Failure> = ctx.child(("purchase", n), PURCHASE, &request).await;
                done.map(|receipt| Told::Purchased { id: receipt.id.to_string(), proposal: proposal.clone() })
            }
        };
        match outcome {
            // The run itself was cancelled: its end says so.
            Err(failure) if failure.code == "run.cancelled" => Err(failure),
            Err(failure) => Ok(Told::Refused {
                code: failure.code,
                details: failure.data.unwrap_or_default(),
                proposal: Some(proposal),
            }),
            told => told,
        }
    }
}
