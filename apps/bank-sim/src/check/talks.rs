use std::collections::BTreeMap;

use serde_json::Value;
use steadfast_core::RunId;
use steadfast_engine::Status;

use super::{Story, books::movements};
use crate::talks::Said;

impl Story {
    /// Each thing that was said was heard once and has one last word, which is what its
    /// speaker was told, and is true.
    pub(super) fn conversations_have_one_end_and_tell_the_truth(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut heard: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut finals: BTreeMap<String, Vec<(u64, Value)>> = BTreeMap::new();
        let mut moved: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for recorded in self.events.iter().filter(|recorded| recorded.stream.category() == "session") {
            let body: Value = serde_json::from_slice(&recorded.event.body).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            match &*recorded.event.kind {
                "session.heard" if body["said"]["words"].is_object() => {
                    heard.entry(text(&body["request"])).or_default().push(text(&body["run"]));
                }
                "session.replied" => {
                    if let Some(amount) = money_told(&body["data"]) {
                        moved.entry(text(&body["run"])).or_default().push(amount);
                    }
                    if body["status"] != "needs_confirmation" {
                        for request in body["answers"].as_array().into_iter().flatten() {
                            let end = (recorded.version, body.clone());
                            finals.entry(text(request)).or_default().push(end);
                        }
                    }
                }
                _ => {}
            }
        }
        for (request, by) in heard.iter().filter(|(_, by)| by.len() > 1) {
            problems.push(format!("{request} was heard twice, by {by:?}"));
        }
        for (request, ends) in finals.iter().filter(|(_, ends)| !self.one_is_the_last(ends)) {
            problems.push(format!("{request} has {} last words: {ends:?}", ends.len()));
        }
        // Whoever is not let in any more is told nothing.
        let refused = |request: &str| {
            self.told.said.iter().any(|said| said.refused && said.request.to_string() == request)
        };
        let untold = |request: &str| !finals.contains_key(request) && !refused(request);
        for (request, by) in heard.iter().filter(|(request, _)| untold(request)) {
            problems.push(format!("{request} has no last word, heard by {by:?}"));
        }
        for said in self.told.said.iter().filter(|said| said.acked) {
            problems.extend(spoken(said, &heard, &finals));
        }
        problems.extend(self.money_is_told_of(moved));
        problems
    }

    /// There is one, or all before it only tell that the run stopped, which then was replayed.
    fn one_is_the_last(&self, ends: &[(u64, Value)]) -> bool {
        let replayed = |body: &Value| {
            let run = body["run"].as_str().and_then(|run| run.parse().ok());
            run.and_then(|run: RunId| self.courses.get(&run)).is_some_and(|course| course.replayed)
        };
        let earlier = ends.split_last().map_or(ends, |(_, earlier)| earlier);
        earlier.iter().all(|(_, body)| body["data"]["kind"] == "stopped" && replayed(body))
    }

    /// Of every conversation's run: what it told has moved, and nothing else did.
    fn money_is_told_of(&self, mut told: BTreeMap<String, Vec<i64>>) -> Vec<String> {
        let mut problems = Vec::new();
        let movements = movements(&self.events);
        let talks = self.courses.iter().filter(|(_, course)| course.started.workflow == "bank.assistant");
        for (run, course) in talks {
            // A compensation that gave up is somebody's work, and says so.
            if course.undone.iter().any(|(_, gave_up)| *gave_up) || self.was_killed(*run) {
                continue;
            }
            let of = movements.values().filter(|it| it.correlation == course.correlation && !it.reversed);
            let mut moved: Vec<i64> = of.map(|it| it.amount).collect();
            let mut told = told.remove(&run.to_string()).unwrap_or_default();
            moved.sort_unstable();
            told.sort_unstable();
            if moved != told {
                problems.push(format!("{run} told of {told:?}, and {moved:?} moved"));
            }
        }
        problems
    }

    fn was_killed(&self, run: RunId) -> bool {
        self.endings.get(&run).is_some_and(|settled| settled.status == Status::Killed)
    }
}

/// How much moved, if this says that something did.
fn money_told(data: &Value) -> Option<i64> {
    let proposal = &data["proposal"];
    match data["kind"].as_str()? {
        "transferred" => proposal["amount"]["minor"].as_i64(),
        "purchased" => proposal["total"]["minor"].as_i64(),
        _ => None,
    }
}

fn spoken(
    said: &Said,
    heard: &BTreeMap<String, Vec<String>>,
    finals: &BTreeMap<String, Vec<(u64, Value)>>,
) -> Option<String> {
    let request = said.request.to_string();
    if !heard.contains_key(&request) {
        return Some(format!("G1: {request} of {} was acknowledged and is not there", said.user));
    }
    let (frame, status, data) = said.told.as_ref()?;
    let ends = finals.get(&request)?;
    let status = serde_json::to_value(status).ok()?;
    let told =
        |(version, body): &(u64, Value)| (version, &body["status"], &body["data"]) == (frame, &status, data);
    (!ends.iter().any(told))
        .then(|| format!("{request} was told {status} in {frame}: {data}, and the log says {ends:?}"))
}
