//! Those who work at the bank: one sees to dead letters, another does by hand what no route
//! leads to.

use crate::clients::Client;

impl Client {
    /// Looks again and again which letters are open, and replays all of them, newest first. So a
    /// parent comes before its child, which then goes on, or has ended, without its own letter.
    pub(crate) async fn see_to_letters(self) {
        for round in 0..6 {
            self.network.pause(20_000).await;
            let place = self.want(self.chooser(format!("letters-{round}")).letters()).await;
            let letters = self.notes.lock()[place].letters();
            for letter in letters {
                let wish = self.chooser(format!("letter-{round}-{letter}")).replay_of(&letter);
                self.want(wish).await;
            }
        }
    }

    /// Sets money and goods aside, and takes them soon, too late, or wrongly.
    pub(crate) async fn trade(self) {
        for i in 0..12 {
            let wish = self.chooser(format!("trade-{i}")).operation();
            self.want(wish).await;
            self.network.pause(4_000).await;
        }
    }
}
