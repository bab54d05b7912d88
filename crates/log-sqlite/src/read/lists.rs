//! Wake-ups and listings.

use std::{collections::BTreeMap, fmt::Write};

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter};
use steadfast_core::{NodeId, Time};
use steadfast_log::{DueQuery, ListQuery, Listing, Listings, ReadError, WakeUp};

use super::{events::whole, labels, stream, unreadable};

/// See [`steadfast_log::Log::due`].
pub(crate) fn due(conn: &Connection, query: &DueQuery) -> Result<Vec<WakeUp>, ReadError> {
    let after = query.after.as_ref();
    let read = || {
        // CROSS JOIN keeps the order of the loops, and with it that of the index.
        conn.prepare_cached(
            "SELECT s.id, w.name, w.due, w.owner
             FROM wake_ups w CROSS JOIN streams s ON s.key = w.stream
             WHERE w.category = ?1 AND w.due <= ?2 AND w.due >= ?3
               AND (w.due, s.id, w.name) > (?3, ?4, ?5)
             ORDER BY w.due, s.id, w.name LIMIT ?6",
        )?
        .query_map(
            (
                query.category,
                query.until.micros(),
                after.map_or(i64::MIN, |after| after.due.micros()),
                after.map_or("", |after| after.stream.as_str()),
                after.map_or("", |after| &*after.name),
                whole(query.limit),
            ),
            wake_up,
        )?
        .collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(unreadable)
}

/// Stream, name, due time and owner, as the first four columns.
pub(crate) fn wake_up(row: &Row<'_>) -> rusqlite::Result<WakeUp> {
    Ok(WakeUp {
        stream: stream(row, 0)?,
        name: row.get::<_, String>(1)?.into(),
        due: Time::from_micros(row.get(2)?),
        owner: row.get::<_, Option<[u8; 16]>>(3)?.map(NodeId::from_bytes),
    })
}

/// See [`steadfast_log::Log::list`].
pub(crate) fn list(conn: &Connection, query: &ListQuery) -> Result<Listings, ReadError> {
    let read = || {
        let tx = conn.unchecked_transaction()?;
        let mut rows = Vec::new();
        for filter in filters(&tx, query)? {
            let Filter { from, created, conditions, mut values } = filter.after(query);
            values.push(Box::new(whole(query.limit).saturating_add(1)));
            let mut statement = tx.prepare_cached(&format!(
                "SELECT s.id, r.kind, r.status, r.principal, r.labels, r.created, r.updated
                 {from} CROSS JOIN streams s ON s.key = r.stream WHERE {conditions}
                 ORDER BY {created} DESC, s.id DESC LIMIT ?"
            ))?;
            let found = statement.query_map(params_from_iter(values), listing)?;
            for row in found {
                rows.push(row?);
            }
        }
        Ok(rows)
    };
    let mut rows: Vec<Listing> = read().map_err(unreadable)?;
    rows.sort_by(|a, b| (b.created, &b.stream).cmp(&(a.created, &a.stream)));
    let more = rows.len() > query.limit;
    rows.truncate(query.limit);
    Ok(Listings { rows, more })
}

/// See [`steadfast_log::Log::count`].
pub(crate) fn count(conn: &Connection, query: &ListQuery) -> Result<u64, ReadError> {
    let read = || {
        let tx = conn.unchecked_transaction()?;
        let mut count = 0;
        for filter in filters(&tx, query)? {
            count += tx
                .prepare_cached(&format!("SELECT count(*) {} WHERE {}", filter.from, filter.conditions))?
                .query_row(params_from_iter(filter.values), |row| row.get::<_, u64>(0))?;
        }
        Ok(count)
    };
    read().map_err(unreadable)
}

/// Stream, kind, status, principal, labels and times, as the first seven columns.
pub(crate) fn listing(row: &Row<'_>) -> rusqlite::Result<Listing> {
    Ok(Listing {
        stream: stream(row, 0)?,
        kind: row.get(1)?,
        status: row.get(2)?,
        principal: row.get(3)?,
        labels: labels(row, 4)?,
        created: Time::from_micros(row.get(5)?),
        updated: Time::from_micros(row.get(6)?),
    })
}

/// The parts of a query after what it selects.
struct Filter {
    from: String,
    /// The column of the leading index that orders the rows.
    created: &'static str,
    conditions: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Filter {
    fn and(mut self, condition: &str, values: impl IntoIterator<Item = Box<dyn ToSql>>) -> Self {
        // Writing to a String does not fail.
        let _ = write!(self.conditions, " AND {condition}");
        self.values.extend(values);
        self
    }

    fn after(self, query: &ListQuery) -> Self {
        let Some((created, stream)) = &query.after else {
            return self;
        };
        let at = self.created;
        self.and(
            &format!("{at} <= ? AND ({at}, s.id) < (?, ?)"),
            [
                Box::new(created.micros()) as Box<dyn ToSql>,
                Box::new(created.micros()),
                Box::new(stream.as_str().to_owned()),
            ],
        )
    }
}

/// Queries that together give the rows once each. The index that leads is the one that
/// narrows most: label, principal, kind, status. Those by status give the wanted order
/// for one status at a time, so there is one query for each; statuses are few.
fn filters(conn: &Connection, query: &ListQuery) -> rusqlite::Result<Vec<Filter>> {
    let list = conn
        .prepare_cached("SELECT key FROM lists WHERE tenant = ?1 AND category = ?2")?
        .query_row((query.tenant.as_str(), &query.category), |row| row.get(0))
        .optional()?;
    let Some(list): Option<i64> = list else {
        return Ok(Vec::new());
    };
    let mut rest = query.labels.clone();
    if let Some((name, value)) = rest.pop_first() {
        let filter = Filter {
            from: "FROM labels led CROSS JOIN listings r ON r.stream = led.stream".into(),
            created: "led.created",
            conditions: "led.list = ? AND led.name = ? AND led.value = ?".into(),
            values: vec![Box::new(list), Box::new(name), Box::new(value)],
        };
        return Ok(vec![narrow(filter, query, &query.statuses, &rest)]);
    }
    let start = |index| Filter {
        from: format!("FROM listings r INDEXED BY {index}"),
        created: "r.created",
        conditions: "r.list = ?".into(),
        values: vec![Box::new(list)],
    };
    if query.principal.is_some() {
        let filter = start("listings_principal");
        return Ok(vec![narrow(filter, query, &query.statuses, &rest)]);
    }
    let index = if query.kind.is_some() { "listings_kind" } else { "listings_status" };
    let statuses = match &query.statuses[..] {
        [] => statuses(conn, list, query.kind.as_deref())?,
        wanted => {
            let mut wanted = wanted.to_vec();
            wanted.sort();
            wanted.dedup();
            wanted
        }
    };
    Ok(statuses.into_iter().map(|status| narrow(start(index), query, &[status], &rest)).collect())
}

/// Adds every condition that is not the leading one.
fn narrow(
    mut filter: Filter,
    query: &ListQuery,
    statuses: &[String],
    labels: &BTreeMap<String, String>,
) -> Filter {
    let boxed = |text: &String| Box::new(text.clone()) as Box<dyn ToSql>;
    if let Some(kind) = &query.kind {
        filter = filter.and("r.kind = ?", [boxed(kind)]);
    }
    if let Some(principal) = &query.principal {
        filter = filter.and("r.principal = ?", [boxed(principal)]);
    }
    match statuses {
        [] => {}
        [one] => filter = filter.and("r.status = ?", [boxed(one)]),
        many => {
            let marks = vec!["?"; many.len()].join(", ");
            filter = filter.and(&format!("r.status IN ({marks})"), many.iter().map(boxed));
        }
    }
    for (name, value) in labels {
        filter = filter.and(
            "EXISTS (SELECT 1 FROM labels l WHERE l.list = r.list AND l.name = ?
                     AND l.value = ? AND l.created = r.created AND l.stream = r.stream)",
            [boxed(name), boxed(value)],
        );
    }
    filter
}

/// The statuses that rows of a list have, each found with one look into the index.
fn statuses(conn: &Connection, list: i64, kind: Option<&str>) -> rusqlite::Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    loop {
        let last = found.last().map(String::as_str);
        let next: Option<String> = match kind {
            Some(kind) => conn
                .prepare_cached(
                    "SELECT min(status) FROM listings INDEXED BY listings_kind
                     WHERE list = ?1 AND kind = ?2 AND status > ifnull(?3, '')",
                )?
                .query_row((list, kind, last), |row| row.get(0))?,
            None => conn
                .prepare_cached(
                    "SELECT min(status) FROM listings INDEXED BY listings_status
                     WHERE list = ?1 AND status > ifnull(?2, '')",
                )?
                .query_row((list, last), |row| row.get(0))?,
        };
        match next {
            Some(status) => found.push(status),
            None => return Ok(found),
        }
    }
}
