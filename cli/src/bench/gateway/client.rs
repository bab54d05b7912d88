//! The load: HTTP/1.1 by hand, so that this end costs little, and the same for whoever is
//! measured.

use std::{cell::RefCell, rc::Rc, time::Duration};

use anyhow::{bail, ensure};
use futures::future::try_join_all;
use steadfast_core::World;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{LocalSet, spawn_local},
};

use super::upstream::content_length;

/// Who is asked for what.
#[derive(Clone)]
pub(super) struct Ask {
    /// HOST:PORT.
    pub(super) address: String,
    pub(super) token: String,
    pub(super) model: String,
    pub(super) stream: bool,
    /// How many different prompts there are; 0 if no two are alike.
    pub(super) prompts: u64,
    pub(super) world: World,
}

/// How it is asked.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// So many connections, each one request after another, for so long.
    Full(usize, Duration),
    /// So many connections, so many requests in all.
    Count(usize, u64),
    /// So many a second, for so long, whatever comes back.
    Even(u64, Duration),
}

/// One answer.
pub(super) struct Got {
    pub(super) took: Duration,
    /// Until the first content of a stream.
    pub(super) first: Duration,
    pub(super) status: u16,
    /// Head and body, as they came.
    pub(super) bytes: Vec<u8>,
}

/// All answers.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) took: Duration,
    pub(super) whole: Vec<Duration>,
    pub(super) first: Vec<Duration>,
    /// Answers that `good` did not like.
    pub(super) bad: u64,
    pub(super) sample: Option<String>,
}

impl Answers {
    fn note(&mut self, got: &Got, good: fn(&Got) -> bool) {
        if good(got) {
            self.whole.push(got.took);
            self.first.push(got.first);
        } else {
            self.bad += 1;
            let text = || String::from_utf8_lossy(&got.bytes).chars().take(800).collect();
            self.sample.get_or_insert_with(text);
        }
    }
}

/// Asks at a pace; `good` says which answers count. On this thread alone.
pub(super) async fn send(ask: &Ask, pace: Pace, good: fn(&Got) -> bool) -> anyhow::Result<Answers> {
    let all = Rc::new(RefCell::new(Answers::default()));
    // Other prompts than in any earlier load.
    let start = if ask.prompts == 0 { ask.world.chance().bits() >> 16 } else { 0 };
    let numbers = Rc::new(RefCell::new(0_u64));
    let began = ask.world.clock().elapsed();
    let local = LocalSet::new();
    let next = move |numbers: &Rc<RefCell<u64>>| {
        let mut number = numbers.borrow_mut();
        *number += 1;
        *number
    };
    let (connections, enough): (usize, Box<dyn Fn(u64, Duration) -> bool>) = match pace {
        Pace::Full(connections, time) => {
            (connections, Box::new(move |_, now| now.saturating_sub(began) >= time))
        }
        Pace::Count(connections, count) => (connections, Box::new(move |number, _| number > count)),
        Pace::Even(..) => (0, Box::new(|_, _| true)),
    };
    let enough: Rc<dyn Fn(u64, Duration) -> bool> = enough.into();
    let callers = (0..connections).map(|_| {
        let (ask, all, numbers, enough) = (ask.clone(), all.clone(), numbers.clone(), enough.clone());
        async move {
            let mut caller = Caller::connect(&ask).await?;
            loop {
                let number = next(&numbers);
                if enough(number, ask.world.clock().elapsed()) {
                    return anyhow::Ok(());
                }
                let got = caller.exchange(&ask, start.wrapping_add(number)).await?;
                all.borrow_mut().note(&got, good);
            }
        }
    });
    let called = local.run_until(async { try_join_all(callers.map(spawn_local)).await }).await?;
    called.into_iter().collect::<anyhow::Result<()>>()?;
    if let Pace::Even(rate, time) = pace {
        local.run_until(evenly(ask, (rate, time), start, &all, good)).await?;
    }
    drop(local);
    let mut all = all.take();
    all.took = ask.world.clock().elapsed().saturating_sub(began);
    Ok(all)
}

/// Connections are kept for the next, so that none has to be made in the middle.
async fn evenly(
    ask: &Ask,
    (rate, time): (u64, Duration),
    start: u64,
    all: &Rc<RefCell<Answers>>,
    good: fn(&Got) -> bool,
) -> anyhow::Result<()> {
    let idle = Rc::new(RefCell::new(try_join_all((0..16).map(|_| Caller::connect(ask))).await?));
    let began = ask.world.clock().elapsed();
    let count = u64::try_from(time.as_millis()).unwrap_or(0) * rate / 1_000;
    let mut under_way = Vec::new();
    for number in 0..count {
        let at = began + Duration::from_micros(number * 1_000_000 / rate);
        ask.world.clock().sleep(at.saturating_sub(ask.world.clock().elapsed())).await;
        let (ask, all, idle) = (ask.clone(), all.clone(), idle.clone());
        under_way.push(spawn_local(async move {
            let free = idle.borrow_mut().pop();
            let mut caller = match free {
                Some(caller) => caller,
                None => Caller::connect(&ask).await?,
            };
            let got = caller.exchange(&ask, start.wrapping_add(number)).await?;
            all.borrow_mut().note(&got, good);
            idle.borrow_mut().push(caller);
            anyhow::Ok(())
        }));
    }
    try_join_all(under_way).await?.into_iter().collect()
}

/// One connection.
struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
    request: Vec<u8>,
}

impl Caller {
    async fn connect(ask: &Ask) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&ask.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10), request: Vec::new() })
    }

    async fn exchange(&mut self, ask: &Ask, number: u64) -> anyhow::Result<Got> {
        let prompt = if ask.prompts == 0 { number } else { number % ask.prompts };
        self.write(ask, prompt);
        self.buffer.clear();
        let clock = ask.world.clock();
        let began = clock.elapsed();
        self.stream.write_all(&self.request).await?;
        let (mut first, mut end) = (None, None);
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            if end.is_none() {
                end = End::of(&self.buffer)?;
            }
            let Some(end) = end else { continue };
            if first.is_none() && memchr::memmem::find(&self.buffer, b"\"content\"").is_some() {
                first = Some(clock.elapsed());
            }
            if end.is_there(&self.buffer) {
                break;
            }
        }
        let over = clock.elapsed();
        let status = self.buffer.get(9..12).and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
        Ok(Got {
            took: over.saturating_sub(began),
            first: first.unwrap_or(over).saturating_sub(began),
            status: status.unwrap_or(0),
            bytes: std::mem::replace(&mut self.buffer, Vec::with_capacity(16 << 10)),
        })
    }

    fn write(&mut self, ask: &Ask, prompt: u64) {
        let body = format!(
            r#"{{"model":"{}","stream":{},"max_tokens":100,"messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"Question {prompt}: what does the quick brown fox jump over?"}}]}}"#,
            ask.model, ask.stream
        );
        self.request.clear();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            ask.address,
            ask.token,
            body.len()
        );
        self.request.extend_from_slice(head.as_bytes());
        self.request.extend_from_slice(body.as_bytes());
    }
}

/// Where an answer ends.
#[derive(Clone, Copy)]
enum End {
    At(usize),
    LastChunk,
}

impl End {
    fn of(buffer: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(head) = memchr::memmem::find(buffer, b"\r\n\r\n") else { return Ok(None) };
        let Some(head) = buffer.get(..head + 4) else { bail!("no head") };
        if let Ok(length) = content_length(head) {
            return Ok(Some(Self::At(head.len() + length)));
        }
        Ok(Some(Self::LastChunk))
    }
    fn is_there(self, buffer: &[u8]) -> bool {
        match self {
            Self::At(end) => buffer.len() >= end,
            Self::LastChunk => buffer.ends_with(b"\r\n0\r\n\r\n"),
        }
    }
}
