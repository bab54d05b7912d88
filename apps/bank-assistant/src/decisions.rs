//! Yes or no by a program: to exactly what was shown for a request. The first one wins.

use steadfast_core::{Failure, Principal, RequestId, RunId, SessionId};

use crate::{
    conversations::{Accepted, Conversations, Saying, correlation, message_id, unknown_request},
    session::{Event, Heard, Reply, Said},
};

impl Conversations {
    /// Takes a yes or no in, to exactly what was shown for this request. The first one wins.
    pub async fn confirm(
        &self,
        caller: &Principal,
        request: RequestId,
        accept: bool,
    ) -> Result<Accepted, Failure> {
        let (run, _) = self.claimed(caller, request).await?.ok_or_else(unknown_request)?;
        let id = self.session_of(&caller.tenant, run).await?;
        let session = self.assistant.sessions().fresh(&caller.tenant, id).await?;
        let correlation = correlation(caller, request);
        let head = session.head;
        let accepted = |run, earlier: Option<(u64, Reply)>| {
            let earlier = earlier.filter(|(version, _)| *version <= head);
            Accepted { run, session: id, correlation, head, earlier }
        };
        let shown = session.confirmation.as_ref().filter(|open| open.shown.requests.contains(&request));
        let Some(open) = shown else {
            return self.decided_before(caller, id, request, accept, accepted).await;
        };
        match open.decided {
            Some(earlier) if earlier == accept => return Ok(accepted(run, None)),
            Some(_) => return Err(already_decided()),
            None if open.shown.expires <= self.assistant.world().now() => return Err(expired()),
            None => {}
        }
        let hash = open.shown.hash;
        let decision = if accept { "yes" } else { "no" };
        let message = message_id(request, &format!("{decision}/{hash}"));
        let saying = Saying { request, hash, message };
        let heard = self
            .say(caller, id, &saying, |session| {
                let open = session.confirmation.as_ref().filter(|open| open.shown.hash == hash);
                match open {
                    Some(open) if open.decided.is_none() => Ok(Said::Decision { hash, accept }),
                    Some(_) => Err(already_decided()),
                    None => Err(void()),
                }
            })
            .await;
        match heard {
            // Something else came first: the same decision, a change, the end of the run.
            Err(failure) if failure.code.starts_with("confirmation.") => {
                self.decided_before(caller, id, request, accept, accepted).await
            }
            heard => heard,
        }
    }

    /// A decision about something that is no longer open: the same one as before is told
    /// how it went, another is too late.
    async fn decided_before(
        &self,
        caller: &Principal,
        id: SessionId,
        request: RequestId,
        accept: bool,
        accepted: impl Fn(RunId, Option<(u64, Reply)>) -> Accepted,
    ) -> Result<Accepted, Failure> {
        let sessions = self.assistant.sessions();
        let decision = |_, event: &Event| match event {
            Event::Heard(Heard { request: of, run, said }) if *of == request => Some(match said {
                Said::Decision { accept, .. } => Some((*run, *accept)),
                // Nothing about it came before its own words.
                Said::Words { .. } => None,
            }),
            _ => None,
        };
        let last = sessions.last_reply(&caller.tenant, id, request).await?;
        match sessions.look_back(&caller.tenant, id, decision).await?.flatten() {
            Some((run, earlier)) if earlier == accept => return Ok(accepted(run, last)),
            Some(_) => return Err(already_decided()),
            None => {}
        }
        let kind = last.as_ref().and_then(|(_, reply)| reply.data["kind"].as_str());
        Err(match kind {
            Some("confirm" | "changed") => void(),
            Some("expired") => expired(),
            _ => nothing_to_confirm(),
        })
    }
}

fn nothing_to_confirm() -> Failure {
    Failure::refused("confirmation.not_open", "this request asks for no confirmation")
}

fn already_decided() -> Failure {
    Failure::refused("confirmation.already_given", "this was decided before; the first decision counts")
}

fn void() -> Failure {
    Failure::refused(
        "confirmation.void",
        "the request was changed after it was shown; confirm the latest reply",
    )
}

fn expired() -> Failure {
    Failure::refused("confirmation.expired", "the time to confirm is over; send the message again")
}
