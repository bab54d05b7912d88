use futures::future::join_all;
use steadfast_core::{Failure, Principal, Time};
use steadfast_log::{DueQuery, WakeUp};

use crate::{
    Ask, Bank, Key, Op,
    books::unreadable,
    hold::HOLD_PREFIX,
    names::{ACCOUNT, PRODUCT},
    op::{HoldAt, ReservationAt},
    product::RESERVATION_PREFIX,
};

/// How many to end at once.
const PAGE: usize = 64;

impl Bank {
    /// Ends the holds and reservations whose time has run out by `now`, oldest first;
    /// returns how many. Safe on several nodes at once: each is resolved once.
    pub async fn expire_due(&self, now: Time) -> Result<usize, Failure> {
        let mut ended = 0;
        for category in [ACCOUNT, PRODUCT] {
            let mut after = None;
            loop {
                let query = DueQuery { category, until: now, after: after.take(), limit: PAGE };
                let due = self.log.due(query).await.map_err(|e| unreadable(&e))?;
                let asks = due.iter().filter_map(expiry).map(|ask| self.ask(ask));
                for result in join_all(asks).await {
                    match result {
                        Ok(_) => ended += 1,
                        // It stays due: the next round tries it again.
                        Err(failure) => {
                            tracing::warn!(code = failure.code, "an expiry was put off");
                        }
                    }
                }
                if due.len() < PAGE {
                    break;
                }
                after = due.into_iter().last();
            }
        }
        Ok(ended)
    }

    /// Ends holds and reservations as they run out, for as long as it is polled. A log
    /// that is held after a restore rests.
    pub async fn run_timers(&self) {
        loop {
            if !self.log.identity().held
                && let Err(failure) = self.expire_due(self.world.now()).await
            {
                tracing::warn!(code = failure.code, "due holds could not be read");
            }
            let wait = self.config.timers_every.get();
            self.world.clock().sleep(wait).await;
        }
    }
}

fn expiry(wake_up: &WakeUp) -> Option<Ask> {
    let name = wake_up.stream.name();
    let op = if let Some(hold) = wake_up.name.strip_prefix(HOLD_PREFIX) {
        Op::ExpireHold(HoldAt { account: name.parse().ok()?, hold: hold.parse().ok()? })
    } else {
        let reservation = wake_up.name.strip_prefix(RESERVATION_PREFIX)?;
        Op::ExpireReservation(ReservationAt {
            product: name.parse().ok()?,
            reservation: reservation.parse().ok()?,
        })
    };
    let principal = Principal::system(wake_up.stream.tenant());
    Some(Ask::new(op, principal, Key::None))
}
