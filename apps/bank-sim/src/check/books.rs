use std::collections::{BTreeMap, BTreeSet};

use steadfast_bank::Fact;
use steadfast_log::Recorded;

use super::Story;
use crate::wishes::What;

/// A movement: from whom to whom, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Movement {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) amount: i64,
    /// What belongs together has the same.
    pub(crate) correlation: Option<String>,
    /// It was taken back.
    pub(crate) reversed: bool,
}

/// All movements of the books, by their ids.
pub(super) fn movements(events: &[Recorded]) -> BTreeMap<String, Movement> {
    let mut movements = BTreeMap::new();
    let mut reversed = BTreeSet::new();
    for recorded in events.iter().filter(|recorded| recorded.stream.category() == "account") {
        let Ok(Fact::Posted(posted)) = Fact::decode(recorded) else { continue };
        reversed.extend(posted.reverses.map(|id| id.to_string()));
        // What takes a movement back is none of its own.
        if posted.amount.minor() > 0 && posted.reverses.is_none() {
            let movement = Movement {
                from: posted.with.to_string(),
                to: recorded.stream.name().to_owned(),
                amount: posted.amount.minor(),
                correlation: recorded.event.correlation.map(|id| id.to_string()),
                reversed: false,
            };
            movements.insert(posted.transfer.to_string(), movement);
        }
    }
    for id in reversed {
        if let Some(movement) = movements.get_mut(&id) {
            movement.reversed = true;
        }
    }
    movements
}

impl Story {
    /// What somebody was told has moved has moved, just so; what was refused has not.
    pub(super) fn what_was_told_of_money_is_true(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let movements = movements(&self.events);
        for asked in &self.told.asked {
            let What::Transfer { from, to, amount } = &asked.wish.what else { continue };
            for answer in asked.answers.iter().filter(|answer| answer.is_final()) {
                let Some(id) = answer.id() else { continue };
                let moved = movements.get(id).map(|it| (it.from.clone(), it.to.clone(), it.amount));
                let told =
                    answer.ok().then(|| (format!("{from}-checking"), format!("{to}-checking"), *amount));
                if moved != told {
                    problems
                        .push(format!("{}: {told:?} was told of {id}, and moved {moved:?}", asked.wish.key));
                }
            }
        }
        problems
    }
}
