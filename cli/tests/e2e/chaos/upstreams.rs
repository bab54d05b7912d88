//! Upstreams that fail at random, from a seed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use steadfast_core::chance::{Chance as _, Seeded, split_mix};
use steadfast_models_mock::{Fault, Mock, Plan};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
    task::JoinHandle,
    time::sleep,
};

/// Those that are there all the time.
pub(super) struct Upstreams {
    /// All speak OpenAI's API but the last, which speaks Anthropic's.
    pub(super) steady: Vec<Mock>,
    /// One whose process dies and comes back.
    restarted: Arc<Mutex<Option<Mock>>>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    restarting: JoinHandle<()>,
}

/// How a call is answered. Half of them go well.
fn plan(seed: u64, call: u64) -> Plan {
    let chance = Seeded::new(split_mix(seed, call));
    let below = |bound: usize| usize::try_from(chance.below(bound as u64)).expect("small");
    let fault = match below(48) {
        0 | 1 => Fault::Status(500, None),
        2 | 3 => Fault::Status(503, None),
        // Who is too busy is left alone for a while, which would leave nothing to be seen.
        4 if below(6) == 0 => Fault::Status(429, None),
        5 if below(6) == 0 => Fault::Status(429, Some(1)),
        6 => Fault::Hang,
        7 | 8 => Fault::Stall(below(20)),
        9..=11 => Fault::CutAtByte(below(4_000)),
        12 | 13 => Fault::Cut(below(20)),
        14 => Fault::Malformed,
        15 => Fault::BadChunk(below(20)),
        16 => Fault::WrongType,
        17 => Fault::ErrorBody,
        18 => Fault::ErrorEvent(below(20)),
        19 => Fault::EndEarly(below(20)),
        20 | 21 => Fault::Drip(1 + below(50)),
        _ => Fault::None,
    };
    let pause = match below(10) {
        // Longer than anybody waits.
        0 if below(4) == 0 => 700,
        1..=3 => below(200),
        _ => 0,
    };
    let millis = |count: usize| Duration::from_millis(count as u64);
    let begins_anew = below(2) == 0;
    Plan { fault, pause: millis(pause), every: millis(below(6)), begins_anew, ..Plan::default() }
}

async fn bind(address: SocketAddr) -> TcpListener {
    loop {
        // Whoever had it before may not have let go yet.
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Dies and comes back until it is told to stay.
async fn restart(
    slot: Arc<Mutex<Option<Mock>>>,
    address: SocketAddr,
    seed: u64,
    mut stop: watch::Receiver<bool>,
) {
    let chance = Seeded::new(seed);
    for life in 0.. {
        let up = Duration::from_millis(300 + chance.below(2_000));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(up) => {}
        }
        *slot.lock().await = None;
        sleep(Duration::from_millis(chance.below(400))).await;
        let mock = Mock::on(bind(address).await, Plan::default()).expect("a listener");
        mock.plans(move |call| plan(seed ^ life, call));
        *slot.lock().await = Some(mock);
    }
}

impl Upstreams {
    pub(super) async fn start() -> Self {
        let mut steady = Vec::new();
        for _ in 0..3 {
            steady.push(Mock::start(Plan::default()).await.expect("runs"));
        }
        let mock = Mock::start(Plan::default()).await.expect("runs");
        let address = mock.address();
        let restarted = Arc::new(Mutex::new(Some(mock)));
        Self { steady, restarted, address, stop: watch::channel(false).0, restarting: tokio::spawn(async {}) }
    }
    /// The configuration's lines for all of them: `p0` and `p1`, `a0`, and `p3`.
    pub(super) fn providers(&self) -> String {
        let urls = self.steady.iter().map(Mock::url).chain([format!("http://{}/v1", self.address)]);
        let named = ["p0", "p1", "a0", "p3"].into_iter().zip(urls);
        let lines = named.map(|(name, url)| {
            let kind = if name == "a0" { "anthropic" } else { "openai" };
            format!(
                "[models.providers.{name}]\nkind = '{kind}'\nurl = '{url}'\nresponses = false\n\
                 timeouts = {{ connect = '500ms', first = '400ms', between = '300ms', total = '2s' }}\n\
                 breaker.open = '300ms'\n"
            )
        });
        lines.collect()
    }
    /// From now on they fail.
    pub(super) fn fail(&mut self, seed: u64) {
        for (i, mock) in self.steady.iter().enumerate() {
            let seed = split_mix(seed, i as u64);
            mock.plans(move |call| plan(seed, call));
        }
        self.stop = watch::channel(false).0;
        let task = restart(self.restarted.clone(), self.address, split_mix(seed, 9), self.stop.subscribe());
        self.restarting = tokio::spawn(task);
    }
    /// From now on all are well.
    pub(super) async fn recover(&mut self) {
        self.stop.send_replace(true);
        (&mut self.restarting).await.expect("it stops");
        for mock in self.steady.iter().chain(&*self.restarted.lock().await) {
            mock.plan(Plan::default());
        }
    }
    /// Calls that are being answered.
    pub(super) async fn open(&self) -> u64 {
        self.steady.iter().chain(&*self.restarted.lock().await).map(Mock::open).sum()
    }
    pub(super) fn calls(&self) -> u64 {
        self.steady.iter().map(Mock::calls).sum()
    }
}
