//! Everything that was asked of a store, and what it must hold because of what it answered.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
};

use steadfast_core::{EventId, World};
use steadfast_log::{
    Commit, CommitError, Committed, Expect, Log, NewEvent, Position, Recorded, Side, Snapshot, StreamId,
    rebuild,
};
use steadfast_log_sqlite::SqliteLog;

/// What is known of something that was asked for.
#[derive(Debug, Clone)]
enum Known {
    /// It is there, wholly, or it is not.
    Nothing,
    There(Committed),
    /// The store said so, or was found without it.
    NotThere,
    /// Because of something that is there.
    Refused(CommitError),
}

#[derive(Debug)]
struct Asked {
    commit: Commit,
    known: Known,
}

/// Commits in the order in which they were asked for, which is the log's order.
#[derive(Debug, Default)]
pub(crate) struct History {
    asked: RefCell<Vec<Asked>>,
    snapshots: RefCell<Vec<(StreamId, Snapshot)>>,
    learnt: Cell<Learnt>,
}

/// What became of commits whose answer never came, or was that nobody knows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Learnt {
    pub(crate) there: u64,
    pub(crate) not_there: u64,
}

/// The n-th thing asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(usize);

impl History {
    pub(crate) fn ask(&self, commit: Commit) -> Ticket {
        self.asked.borrow_mut().push(Asked { commit, known: Known::Nothing });
        Ticket(self.asked.borrow().len() - 1)
    }

    pub(crate) fn answer(&self, ticket: Ticket, answer: Result<Committed, CommitError>) {
        self.asked.borrow_mut()[ticket.0].known = match answer {
            Ok(committed) => Known::There(committed),
            Err(refusal @ (CommitError::Claimed(..) | CommitError::Conflict { .. })) => {
                Known::Refused(refusal)
            }
            Err(CommitError::Unknown(_)) => Known::Nothing,
            Err(_) => Known::NotThere,
        };
    }

    pub(crate) fn ask_snapshot(&self, stream: StreamId, snapshot: Snapshot) {
        self.snapshots.borrow_mut().push((stream, snapshot));
    }

    pub(crate) fn learnt(&self) -> Learnt {
        self.learnt.get()
    }

    /// Where a stream stands, as far as anybody was told.
    pub(crate) fn head(&self, stream: &StreamId) -> u64 {
        let head = |asked: &Asked| match &asked.known {
            Known::There(there) => {
                let which = asked.commit.appends.iter().position(|append| append.stream == *stream)?;
                Some(there.versions[which])
            }
            _ => None,
        };
        self.asked.borrow().iter().rev().find_map(head).unwrap_or(0)
    }

    /// Holds a store that was just opened against all answers, and learns what became of
    /// what had none. Returns the log's end.
    pub(crate) async fn check(&self, store: &SqliteLog) -> Result<u64, String> {
        let commits = commits_of(store).await?;
        let end = commits.last().and_then(|commit| commit.last()).map_or(0, |event| event.position.n);
        let tail = store.tail().borrow().n;
        if tail != end {
            return Err(format!("the tail is {tail} and the last event {end}"));
        }
        self.check_commits(&commits)?;
        self.check_checkpoints(store).await?;
        self.check_payloads(store).await?;
        self.check_snapshots(store).await?;
        self.check_refusals(store).await?;
        let folded = rebuild(store).await.map_err(|error| error.to_string())?;
        let derived = store.derived().await.map_err(|error| error.to_string())?;
        if derived != folded {
            return Err(format!("derived is {derived:#?}, the fold of the log {folded:#?}"));
        }
        Ok(end)
    }

    /// Each commit is one that was asked for, whole, in its order and where it was said to
    /// be; and none of those said to be there is missing.
    fn check_commits(&self, found: &[Vec<Recorded>]) -> Result<(), String> {
        let mut asked = self.asked.borrow_mut();
        let mut learnt = self.learnt.get();
        let by_event: HashMap<EventId, usize> = asked
            .iter()
            .enumerate()
            .filter_map(|(i, asked)| Some((asked.commit.appends.first()?.events.first()?.id, i)))
            .collect();
        let mut next = 0;
        for events in found {
            let at = &events[0].position;
            let Some(i) = by_event.get(&events[0].event.id).copied() else {
                return Err(format!("nobody asked for the commit at {at}"));
            };
            for missing in &mut asked[next.min(i)..i] {
                miss(missing, &mut learnt)?;
            }
            if i < next {
                return Err(format!("the commit at {at} is there twice or out of order"));
            }
            next = i + 1;
            let there = whole(&asked[i].commit, events)?;
            match &asked[i].known {
                Known::Nothing => {
                    learnt.there += 1;
                    asked[i].known = Known::There(there);
                }
                Known::There(said) if *said == there => {}
                known => return Err(format!("the commit at {at} is {there:?}, and known as {known:?}")),
            }
        }
        asked[next..].iter_mut().try_for_each(|asked| miss(asked, &mut learnt))?;
        self.learnt.set(learnt);
        Ok(())
    }

    /// A checkpoint is the last that is known to be there, or one asked for since.
    async fn check_checkpoints(&self, store: &SqliteLog) -> Result<(), String> {
        let mut possible: BTreeMap<String, Vec<Option<Position>>> = BTreeMap::new();
        for asked in self.asked.borrow().iter() {
            for checkpoint in &asked.commit.checkpoints {
                let possible = possible.entry(checkpoint.subscriber.clone()).or_insert_with(|| vec![None]);
                match asked.known {
                    Known::There(_) => *possible = vec![Some(checkpoint.position)],
                    Known::Nothing => possible.push(Some(checkpoint.position)),
                    Known::NotThere | Known::Refused(_) => {}
                }
            }
        }
        for (subscriber, possible) in possible {
            let found = store.checkpoint(&subscriber).await.map_err(|error| error.to_string())?;
            if !possible.contains(&found) {
                return Err(format!("checkpoint {subscriber} is lost: {found:?} is none of {possible:?}"));
            }
            // Positions are unique here: what shows is there, and the others never will be.
            for asked in self.asked.borrow_mut().iter_mut() {
                if let [checkpoint] = &asked.commit.checkpoints[..]
                    && checkpoint.subscriber == subscriber
                    && matches!(asked.known, Known::Nothing)
                {
                    asked.known = if Some(checkpoint.position) == found {
                        Known::There(Committed { position: Position::START, versions: Vec::new() })
                    } else {
                        Known::NotThere
                    };
                }
            }
        }
        Ok(())
    }

    async fn check_payloads(&self, store: &SqliteLog) -> Result<(), String> {
        let there = |asked: &&Asked| matches!(asked.known, Known::There(_));
        let payloads: Vec<_> = self
            .asked
            .borrow()
            .iter()
            .filter(there)
            .flat_map(|asked| asked.commit.payloads.clone())
            .collect();
        for payload in payloads {
            let found = store.payload(payload.id).await.map_err(|error| error.to_string())?;
            if found.is_none() || payload.bytes.is_some_and(|bytes| found != Some(bytes)) {
                return Err(format!("payload {} is lost or broken", payload.id));
            }
        }
        Ok(())
    }

    /// A snapshot may be lost, but is never another than one that was put.
    async fn check_snapshots(&self, store: &SqliteLog) -> Result<(), String> {
        let snapshots = self.snapshots.borrow().clone();
        for (stream, _) in &snapshots {
            let found = store.snapshot(stream).await.map_err(|error| error.to_string())?;
            if found.is_some_and(|found| !snapshots.contains(&(stream.clone(), found))) {
                return Err(format!("nobody put the snapshot of {stream}"));
            }
        }
        Ok(())
    }

    /// What was refused is refused again: what the refusal rests on is still there.
    async fn check_refusals(&self, store: &SqliteLog) -> Result<(), String> {
        let lasting = |asked: &Asked| match &asked.known {
            Known::Refused(CommitError::Conflict { stream, actual }) => asked
                .commit
                .appends
                .iter()
                .any(|append| append.stream == *stream && expects_less(append.expect, *actual)),
            Known::Refused(_) => true,
            _ => false,
        };
        let refused: Vec<_> = self
            .asked
            .borrow()
            .iter()
            .filter(|asked| lasting(asked))
            .map(|asked| (asked.commit.clone(), asked.known.clone()))
            .collect();
        for (commit, known) in refused {
            match store.commit(commit).await {
                Err(CommitError::Claimed(..) | CommitError::Conflict { .. }) => {}
                answer => return Err(format!("{known:?} is lost: asked again, the answer is {answer:?}")),
            }
        }
        Ok(())
    }

    /// The store takes more, behind everything that was there.
    pub(crate) async fn go_on(&self, store: &SqliteLog, world: &World, end: u64) -> Result<(), String> {
        let streams: Vec<StreamId> =
            rebuild(store).await.map_err(|e| e.to_string())?.heads.into_keys().collect();
        for (stream, n) in streams.into_iter().zip(end + 1..) {
            let head = self.head(&stream);
            let event = NewEvent::new(world, "test.went_on", 1, "{}");
            let commit = Commit::append(stream.clone(), Expect::Exact(head), vec![event]);
            let committed = store.commit(commit).await.map_err(|error| format!("{stream}: {error}"))?;
            if committed.position.n != n || committed.versions != [head + 1] {
                return Err(format!("{stream} goes on at {committed:?}, after {end} and version {head}"));
            }
        }
        Ok(())
    }
}

fn expects_less(expect: Expect, actual: u64) -> bool {
    match expect {
        Expect::New => true,
        Expect::Exact(version) => version < actual,
        Expect::Any => false,
    }
}

/// A commit that was passed over in the log.
fn miss(asked: &mut Asked, learnt: &mut Learnt) -> Result<(), String> {
    if asked.commit.appends.is_empty() {
        return Ok(());
    }
    match &asked.known {
        Known::There(said) => Err(format!("the commit that was acknowledged as {said:?} is lost")),
        Known::Nothing => {
            learnt.not_there += 1;
            asked.known = Known::NotThere;
            Ok(())
        }
        Known::NotThere | Known::Refused(_) => Ok(()),
    }
}

/// The whole log, commit by commit.
async fn commits_of(store: &SqliteLog) -> Result<Vec<Vec<Recorded>>, String> {
    let (mut commits, mut at) = (vec![Vec::new()], Position::START);
    loop {
        let page = store.read_all(at, 100).await.map_err(|error| error.to_string())?;
        if page.events.is_empty() {
            break;
        }
        for event in page.events {
            let ends = event.ends;
            commits.last_mut().expect("one is open").push(event);
            if ends {
                commits.push(Vec::new());
            }
        }
        at = page.next;
    }
    match commits.pop() {
        Some(open) if open.is_empty() => Ok(commits),
        open => Err(format!("the last commit is there in part: {open:?}")),
    }
}

/// Is it all there, and nothing else? Says where.
fn whole(commit: &Commit, found: &[Recorded]) -> Result<Committed, String> {
    let asked: Vec<_> = commit
        .appends
        .iter()
        .flat_map(|append| append.events.iter().map(|event| (&append.stream, event)))
        .collect();
    let same = |(a, b): (&(&StreamId, &NewEvent), &Recorded)| *a.0 == b.stream && *a.1 == b.event;
    let sides = found.iter().map(|event| event.side.as_ref());
    let first = Side::of(commit).encode();
    let one_commit = asked.len() == found.len()
        && asked.iter().zip(found).all(same)
        && sides.eq(std::iter::once(first.as_ref()).chain(std::iter::repeat_n(None, found.len() - 1)))
        && found.windows(2).all(|two| two[0].position.n + 1 == two[1].position.n);
    let (Some(last), true) = (found.last(), one_commit) else {
        return Err(format!("a commit is there in part or changed: {found:?}, asked as {commit:?}"));
    };
    let version = |stream: &StreamId| {
        found.iter().rev().find(|event| event.stream == *stream).map_or(0, |event| event.version)
    };
    let versions = commit.appends.iter().map(|append| version(&append.stream)).collect();
    Ok(Committed { position: last.position, versions })
}
