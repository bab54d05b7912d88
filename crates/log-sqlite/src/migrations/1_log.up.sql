CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- `began`: the last n that was there when the incarnation began.
CREATE TABLE incarnations (
    incarnation INTEGER PRIMARY KEY,
    began INTEGER NOT NULL
) STRICT;

-- Streams by a short number; `id` is TENANT/CATEGORY/NAME.
CREATE TABLE streams (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE events (
    n INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    version INTEGER NOT NULL,
    id BLOB NOT NULL,
    kind TEXT NOT NULL,
    schema INTEGER NOT NULL,
    time INTEGER NOT NULL,
    causation BLOB,
    correlation BLOB,
    session BLOB,
    key_id TEXT,
    ends INTEGER NOT NULL,
    side BLOB,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_stream ON events (stream, version);

-- From here on: folds of the log, or what costs only repeats when lost.
CREATE TABLE claims (
    key BLOB PRIMARY KEY,
    request BLOB NOT NULL,
    answer TEXT NOT NULL,
    expires INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_expires ON claims (expires) WHERE expires IS NOT NULL;

CREATE TABLE wake_ups (
    stream INTEGER NOT NULL,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    due INTEGER NOT NULL,
    owner BLOB,
    PRIMARY KEY (stream, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX wake_ups_due ON wake_ups (category, due);

CREATE TABLE lists (
    key INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    category TEXT NOT NULL,
    UNIQUE (tenant, category)
) STRICT;

-- A list is read once for each status and merged, so no index is without one.
CREATE TABLE listings (
    stream INTEGER PRIMARY KEY,
    list INTEGER NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    principal TEXT,
    labels TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT;
CREATE INDEX listings_status ON listings (list, status, created);
CREATE INDEX listings_kind ON listings (list, kind, status, created);
CREATE INDEX listings_principal ON listings (list, principal, created) WHERE principal IS NOT NULL;

CREATE TABLE labels (
    list INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    created INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    PRIMARY KEY (list, name, value, created, stream)
) STRICT, WITHOUT ROWID;

-- `lost`: when the last reference went.
CREATE TABLE payloads (
    id BLOB PRIMARY KEY,
    bytes BLOB NOT NULL,
    lost INTEGER
) STRICT;
CREATE INDEX payloads_lost ON payloads (lost) WHERE lost IS NOT NULL;

CREATE TABLE payload_refs (
    payload BLOB NOT NULL,
    stream INTEGER NOT NULL,
    PRIMARY KEY (payload, stream)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    stream INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    schema INTEGER NOT NULL,
    hash BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    subscriber TEXT PRIMARY KEY,
    position TEXT NOT NULL
) STRICT, WITHOUT ROWID
