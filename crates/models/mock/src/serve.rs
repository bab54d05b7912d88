//! The server, and what goes wrong on the wire.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{
    Fault, Plan, bedrock,
    cutting::Cutting,
    speak::{self, Dialect},
};

/// The most requests that are kept to be looked at.
const SEEN_MAX: usize = 1_000;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// How the call of a number is answered.
type Plans = Arc<dyn Fn(u64) -> Plan + Send + Sync>;

struct State {
    plans: Mutex<Plans>,
    next: Mutex<VecDeque<Plan>>,
    seen: Mutex<Vec<Seen>>,
    calls: AtomicU64,
    open: AtomicU64,
    cancelled: AtomicU64,
    connections: AtomicU64,
    changed: Notify,
    /// A permit for each answer that may go on.
    going_on: Semaphore,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running upstream. Dropped, it is gone, with all its connections.
pub struct Mock {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl std::fmt::Debug for Mock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mock").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Mock {
    /// Starts one on a free port of this machine.
    pub async fn start(plan: impl Into<Plan>) -> io::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").await?, plan.into())
    }
    /// Starts one on this listener.
    pub fn on(listener: TcpListener, plan: Plan) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            plans: Mutex::new(Arc::new(move |_| plan.clone())),
            next: Mutex::default(),
            seen: Mutex::default(),
            calls: AtomicU64::new(0),
            open: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            changed: Notify::new(),
            going_on: Semaphore::new(0),
        });
        let serving = tokio::spawn(accept(listener, state.clone()));
        Ok(Self { address, state, serving })
    }
    /// Serves until the process ends.
    pub async fn serve(mut self) {
        let _ = (&mut self.serving).await;
    }
    /// Where it is, as providers are configured.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// How calls are answered from now on.
    pub fn plan(&self, plan: impl Into<Plan>) {
        let plan = plan.into();
        self.plans(move |_| plan.clone());
    }
    /// The same, where each call is answered by its number.
    pub fn plans(&self, plans: impl Fn(u64) -> Plan + Send + Sync + 'static) {
        *lock(&self.state.plans) = Arc::new(plans);
    }
    /// How the next calls are answered, one after another, before the plan goes on.
    pub fn next(&self, plans: impl IntoIterator<Item = impl Into<Plan>>) {
        lock(&self.state.next).extend(plans.into_iter().map(Into::into));
    }
    /// Lets an answer go on that holds.
    pub fn go_on(&self) {
        self.state.going_on.add_permits(1);
    }
    /// Calls that came.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(SeqCst)
    }
    /// Calls whose client went away before the end.
    pub fn cancelled(&self) -> u64 {
        self.state.cancelled.load(SeqCst)
    }
    /// Calls that are being answered.
    pub fn open(&self) -> u64 {
        self.state.open.load(SeqCst)
    }
    /// Connections that were made.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(SeqCst)
    }
    /// The requests so far, the first thousand of them.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }
    /// Waits until `so` holds of it.
    pub async fn until(&self, so: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.state.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if so(self) {
                return;
            }
            changed.await;
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Connections end with the task that owns the set.
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let Ok((stream, _)) = stream else { continue };
        let _ = stream.set_nodelay(true);
        state.connections.fetch_add(1, SeqCst);
        connections.spawn(connection(stream, state.clone()));
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let io = Cutting::new(stream, left.clone());
    let service = service_fn(move |request| answer(request, state.clone(), left.clone()));
    // How a connection ends is what is tested.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
}

/// A call that is being answered.
struct Open {
    state: Arc<State>,
    ended: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.state.open.fetch_sub(1, SeqCst);
        if !self.ended {
            self.state.cancelled.fetch_add(1, SeqCst);
        }
        self.state.changed.notify_waiters();
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
    left: Arc<AtomicUsize>,
) -> Result<Response<Answer>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let number = state.calls.fetch_add(1, SeqCst);
    state.open.fetch_add(1, SeqCst);
    let mut open = Open { state: state.clone(), ended: false };
    let path = head.uri.path().to_owned();
    let dialect = match path.rsplit('/').next() {
        Some("messages") => Dialect::Messages,
        Some("embeddings") => Dialect::Embeddings,
        _ => bedrock::Verb::of(&path).map_or(Dialect::Chat, Dialect::Bedrock),
    };
    let mut asked: speak::Request = serde_json::from_slice(&body).unwrap_or_default();
    asked.stream |= String::from_utf8_lossy(&body).contains("name=\"stream\"\r\n\r\ntrue");
    asked.stream |= dialect == Dialect::Bedrock(bedrock::Verb::ConverseStream);
    if let Some(model) = bedrock::model(&path) {
        asked.model = model;
    }
    {
        let mut seen = lock(&state.seen);
        if seen.len() < SEEN_MAX {
            seen.push(Seen { path, headers: head.headers, body });
        }
    }
    state.changed.notify_waiters();
    let named = asked.model.strip_prefix("plan/").and_then(|text| text.parse().ok());
    let plans = lock(&state.plans).clone();
    let mut plan: Plan = named.or_else(|| lock(&state.next).pop_front()).unwrap_or_else(|| plans(number));
    if !plan.strikes(number) {
        plan.fault = Fault::None;
    }
    if !plan.pause.is_zero() {
        sleep(plan.pause).await;
    }
    if plan.fault == Fault::Hang {
        std::future::pending::<()>().await;
    }
    if let Fault::CutAtByte(bytes) = plan.fault {
        left.store(bytes, SeqCst);
        open.ended = true;
    }
    Ok(respond(dialect, &asked, &plan, open))
}

fn respond(dialect: Dialect, asked: &speak::Request, plan: &Plan, open: Open) -> Response<Answer> {
    let json = "application/json";
    let one = |status: u16, kind: &'static str, text: String| (status, kind, vec![Step::Send(text.into())]);
    let (status, kind, mut steps) = match plan.fault {
        Fault::Status(status, _) => one(status, json, speak::error(dialect, status).to_string()),
        Fault::ErrorBody => one(200, json, speak::error(dialect, 500).to_string()),
        Fault::WrongType => one(200, "text/html", "<html>It works!</html>".into()),
        Fault::None if plan.replay.is_some() => {
            let kind = if asked.stream { speak::stream_type(dialect) } else { json };
            (200, kind, plan.replay.iter().cloned().map(Step::Send).collect())
        }
        Fault::Malformed if !asked.stream => {
            let mut text = speak::whole(dialect, asked, plan).to_string();
            text.truncate(text.len() / 2);
            one(200, json, text)
        }
        _ if asked.stream && dialect != Dialect::Embeddings => {
            (200, speak::stream_type(dialect), stream(dialect, asked, plan))
        }
        _ => one(200, json, speak::whole(dialect, asked, plan).to_string()),
    };
    if let Fault::Drip(bytes) = plan.fault {
        steps = drip(steps, bytes.max(1));
    }
    let length = (!asked.stream).then(|| steps.iter().map(Step::len).sum::<usize>());
    let mut response = Response::new(Answer { steps: steps.into(), pausing: None, open });
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    if let Some(length) = length {
        headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    if let (Fault::Status(status, _), Dialect::Bedrock(_)) = (&plan.fault, dialect) {
        let name = http::HeaderValue::from_static(bedrock::error_name(*status));
        headers.insert("x-amzn-errortype", name);
    }
    if let Fault::Status(_, Some(seconds)) = plan.fault {
        headers.insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

/// One thing after another.
enum Step {
    Send(Bytes),
    /// What was sent so far leaves by itself.
    Flush,
    Pause(Duration),
    Stall,
    Hold,
    Cut,
}

impl Step {
    fn len(&self) -> usize {
        if let Self::Send(bytes) = self { bytes.len() } else { 0 }
    }
}

fn stream(dialect: Dialect, asked: &speak::Request, plan: &Plan) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut pieces = 0;
    for said in speak::events(dialect, asked, plan) {
        let at = said.piece.then_some(pieces);
        let last = match plan.fault {
            Fault::Cut(after) if at == Some(after) => Some(Step::Cut),
            Fault::Stall(after) if at == Some(after) => Some(Step::Stall),
            Fault::ErrorEvent(after) if at == Some(after) => Some(Step::Send(speak::error_event(dialect))),
            _ => None,
        };
        if let Some(last) = last {
            steps.push(last);
            break;
        }
        if at.is_some() && plan.fault == Fault::Hold(pieces) {
            steps.push(Step::Hold);
        }
        match plan.fault {
            Fault::EndEarly(after) if at == Some(after) => break,
            Fault::BadChunk(bad) if at == Some(bad) => {
                steps.push(Step::Send(speak::bad_event(dialect)));
            }
            _ => {
                if said.piece && !plan.every.is_zero() {
                    steps.push(Step::Pause(plan.every));
                }
                steps.extend([Step::Send(said.bytes), Step::Flush]);
            }
        }
        pieces += usize::from(said.piece);
    }
    steps
}

fn drip(steps: Vec<Step>, bytes: usize) -> Vec<Step> {
    let mut dripped = Vec::new();
    for step in steps {
        match step {
            Step::Send(all) => {
                let part = |part| [Step::Send(all.slice_ref(part)), Step::Flush];
                dripped.extend(all.chunks(bytes).flat_map(part));
            }
            other => dripped.push(other),
        }
    }
    dripped
}

/// An answer's body.
struct Answer {
    steps: VecDeque<Step>,
    pausing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    open: Open,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(pausing) = &mut self.pausing {
                ready!(pausing.as_mut().poll(context));
                self.pausing = None;
            }
            match self.steps.pop_front() {
                Some(Step::Send(bytes)) => {
                    self.open.ended |= !self.steps.iter().any(|step| !matches!(step, Step::Flush));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Flush) => {
                    // The connection writes what it holds when nothing more is there.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Pause(time)) => self.pausing = Some(Box::pin(sleep(time))),
                Some(Step::Hold) => {
                    let state = self.open.state.clone();
                    self.pausing = Some(Box::pin(async move {
                        // The semaphore is never closed.
                        if let Ok(permit) = state.going_on.acquire().await {
                            permit.forget();
                        }
                    }));
                }
                Some(Step::Stall) => {
                    self.steps.push_front(Step::Stall);
                    return Poll::Pending;
                }
                Some(Step::Cut) => {
                    self.open.ended = true;
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
                }
                None => {
                    self.open.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
    }
}
