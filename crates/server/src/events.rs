use std::time::Duration;

use axum::extract::State;
use steadfast_core::{Principal, Role};
use steadfast_log::{Page as LogPage, Position, Recorded, StreamId, follow, newest};

use crate::{CloudEvent, Edge, Json, LIMIT_DEFAULT, LIMIT_MAX, Operator, Page, Problem, Query};

/// Pages of the log that one request reads at most while its filter finds nothing.
const PAGES_MAX: usize = 50;
const PAGE: usize = 200;

/// The log in order. `after` is a position, `stream` a stream (or the start of its name,
/// `default/run`), `wait` how many seconds to wait when there is nothing yet. With `last`
/// instead, so many of the newest.
///
/// `next` is always there: the place to go on from, also when nothing was found.
pub(crate) async fn list(
    State(edge): State<Edge>,
    Operator(caller): Operator,
    mut query: Query,
) -> Result<Json<Page<CloudEvent>>, Problem> {
    let cursor = "a position that an earlier answer returned";
    let mut after = query.read::<Position>("after", cursor)?.unwrap_or(Position::START);
    let stream = query.one("stream")?;
    let limit = query.limit(LIMIT_DEFAULT)?;
    let wait = query
        .read::<u64>("wait", "a whole number of seconds")?
        .map_or(Duration::ZERO, Duration::from_secs)
        .min(edge.config().wait_max.get());
    let last = query.read::<usize>("last", "a whole number")?;
    query.finish()?;
    let wanted = Wanted { principal: &caller.principal, stream: stream.as_deref() };
    let until = edge.world().clock().elapsed() + wait;
    let log = edge.engine().log().identity();
    if let Some(last) = last {
        let covers = |recorded: &Recorded| wanted.covers(recorded);
        let page = newest(&**edge.engine().log(), last.min(LIMIT_MAX), covers).await?;
        let items = page.events.iter().map(|it| CloudEvent::of(&log, it));
        return Ok(Json(Page { items: items.collect(), next: Some(page.next.to_string()) }));
    }
    let mut items = Vec::new();
    for _ in 0..PAGES_MAX {
        let left = until.saturating_sub(edge.world().clock().elapsed());
        let page = read(&edge, after, left).await?;
        if page.events.is_empty() {
            break;
        }
        for recorded in &page.events {
            if wanted.covers(recorded) {
                items.push(CloudEvent::of(&log, recorded));
            }
            after = recorded.position;
            if items.len() >= limit {
                break;
            }
        }
        if !items.is_empty() {
            break;
        }
    }
    let next = Some(after.to_string());
    Ok(Json(Page { items, next }))
}

/// What comes after a position, waiting for it if there is time left.
async fn read(edge: &Edge, after: Position, left: Duration) -> Result<LogPage, Problem> {
    let log = &**edge.engine().log();
    let nothing = LogPage { events: Vec::new(), next: after };
    Ok(if left.is_zero() {
        log.read_all(after, PAGE).await?
    } else {
        match edge.within(left, follow(log, after, PAGE)).await {
            Some(page) => page?,
            None => nothing,
        }
    })
}

struct Wanted<'a> {
    principal: &'a Principal,
    stream: Option<&'a str>,
}

impl Wanted<'_> {
    /// An operator sees their tenant's events, an admin the whole node's.
    fn covers(&self, recorded: &Recorded) -> bool {
        let theirs = self.principal.role == Role::Admin || recorded.stream.tenant() == self.principal.tenant;
        theirs && self.stream.is_none_or(|wanted| under(&recorded.stream, wanted))
    }
}

/// Is it that stream, or one below it?
fn under(stream: &StreamId, wanted: &str) -> bool {
    stream
        .as_str()
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || wanted.ends_with('/'))
}
