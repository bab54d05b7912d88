//! The assistant's run: from the first word of a request until nothing is open any more.
//! Understand, check, confirm, act, report, each a step; what is said meanwhile in the
//! same conversation comes in as signals.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steadfast_bank::{
    Answer,
    purchase::{PURCHASE, PurchaseRequest, Receipt},
    steps::{TRANSFER, TransferOrder, UNDO_TRANSFER},
};
use steadfast_core::{Failure, RequestId, SessionId, Time};
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

const UNDERSTAND: Action<Listen, Understood> = Action::new("assistant.understand");
const CHECK: Action<Check, Verdict> = Action::new("assistant.check");
const REPORT: Action<Say, Reported> = Action::new("assistant.report");

/// Adds the assistant to what an engine can run; the bank's own steps must be there.
pub fn register(registry: &mut Registry, assistant: &Assistant) {
    let options = || ActionOptions { timeout: Duration::from_secs(10), ..ActionOptions::default() };
    let (listening, checking, reporting) = (assistant.clone(), assistant.clone(), assistant.clone());
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
}

impl Talk {
    /// Works on what was heard, and changes what is pending.
    async fn hear(&mut self, ctx: &Ctx, n: u32, heard: &Heard) -> Result<Saying, Failure> {
        let answers = vec![heard.request];
        let about = match &heard.said {
            Said::Words { about, .. } => *about,
            Said::Decision { hash, accept } => {
                let meant = self.confirmation.as_ref().is_some_and(|open| open.hash == *hash);
                if !meant {
                    return Ok(Saying { told: Told::Changed, answers });
                }
                return self.decided(ctx, n, *accept, answers).await;
            }
        };
        let listen = Listen {
            session: self.session,
            said: heard.said.clone(),
            expecting: self.pending.as_ref().map(|pending| pending.expecting),
        };
        let understood = ctx.step(("understand", n), &UNDERSTAND, &listen).await?;
        self.language = understood.language;
        let unclear = understood.answer == Some(understand::Answer::Unclear);
        let question = Question { understood, pending: self.pending.clone(), about };
        let verdict = ctx.step(("check", n), &CHECK, &Check { question }).await?;
        let told = match verdict {
            Verdict::Say(told) => told,
            Verdict::Drop(told) => {
                self.drop_pending();
                told
            }
            Verdict::Ask(told, pending) => {
                self.drop_pending();
                self.pending = Some(*pending);
                told
            }
            Verdict::Propose(pending, expires) => {
                self.drop_pending();
                let Some(proposal) = pending.proposal.clone() else {
                    return Err(Failure::internal("assistant.no_proposal", "a proposal without arguments"));
                };
                let hash = proposal.hash()?;
                self.confirmation = Some(Confirmation { hash, expires, requests: answers.clone() });
                self.pending = Some(*pending);
                Told::Confirm { proposal, expires, unclear }
            }
            Verdict::Decide(accept) => return self.decided(ctx, n, accept, answers).await,
        };
        Ok(Saying { told, answers })
    }

    fn drop_pending(&mut self) {
        self.pending = None;
        self.confirmation = None;
    }

    /// A yes or no to what is pending answers also those whom it was shown.
    async fn decided(
        &mut self,
        ctx: &Ctx,
        n: u32,
        accept: bool,
        mut answers: Vec<RequestId>,
    ) -> Result<Saying, Failure> {
        let proposal = self.pending.take().and_then(|pending| pending.proposal);
        if let Some(confirmation) = self.confirmation.take() {
            let shown_to = confirmation.requests.into_iter();
            let others: Vec<_> = shown_to.filter(|request| !answers.contains(request)).collect();
            answers.extend(others);
        }
        let told = match proposal {
            Some(proposal) if accept => act(ctx, n, proposal).await?,
            _ => Told::Cancelled,
        };
        Ok(Saying { told, answers })
    }

    async fn say(
        &mut self,
        ctx: &Ctx,
        step: (&str, u32),
        Saying { told, answers }: Saying,
    ) -> Result<Reported, Failure> {
        let say = Say {
            session: self.session,
            answers,
            told: Some(told),
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
        let requests = self.confirmation.take().map(|open| open.requests).unwrap_or_default();
        self.pending = None;
        let say = Say {
            session: self.session,
            told: (!requests.is_empty()).then_some(Told::Expired),
            answers: requests,
            language: self.language,
            open: false,
            confirmation: None,
            only_if_silent: true,
        };
        let reported = ctx.step(("expire", n), &REPORT, &say).await?;
        if reported.open { ctx.signal(("late", n), HEARD).await.map(Some) } else { Ok(None) }
    }
}

/// Does what was agreed to. That it failed is told, not an end of the run.
async fn act(ctx: &Ctx, n: u32, proposal: Proposal) -> Result<Told, Failure> {
    let (outcome, proposal) = match proposal {
        Proposal::Transfer { ref from, ref to, amount, .. } => {
            let order = TransferOrder { from: from.clone(), to: to.clone(), amount };
            let done: Result<Answer, Failure> =
                ctx.step(("transfer", n), &TRANSFER, &order).undo(&UNDO_TRANSFER, &order).await;
            (done.map(|answer| answer.id), proposal)
        }
        Proposal::Purchase { ref product, quantity, total, ref from, .. } => {
            let request = PurchaseRequest {
                product: product.clone(),
                quantity,
                from: Some(from.clone()),
                total: Some(total),
            };
            let done: Result<Receipt, Failure> = ctx.child(("purchase", n), PURCHASE, &request).await;
            (done.map(|receipt| receipt.id.to_string()), proposal)
        }
    };
    Ok(match outcome {
        Ok(id) if matches!(proposal, Proposal::Transfer { .. }) => Told::Transferred { id, proposal },
        Ok(id) => Told::Purchased { id, proposal },
        // The run itself was cancelled: its end says so.
        Err(failure) if failure.code == "run.cancelled" => return Err(failure),
        Err(failure) => Told::Refused {
            code: failure.code.clone(),
            details: failure.data.unwrap_or_default(),
            proposal: Some(proposal),
        },
    })
}
