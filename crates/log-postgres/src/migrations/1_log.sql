-- One row: whose tables these are, and which schema they have.
CREATE TABLE steadfast (
    schema integer NOT NULL,
    log_id uuid NOT NULL,
    payload_key bytea NOT NULL
);
CREATE UNIQUE INDEX steadfast_once ON steadfast ((true));

-- The end of the log. Whoever writes locks the row until its COMMIT, so that places are
-- given, and become visible, in order. Room in the page keeps its updates in the page.
CREATE TABLE shards (
    shard smallint PRIMARY KEY,
    n bigint NOT NULL,
    incarnation bigint NOT NULL,
    held boolean NOT NULL
) WITH (fillfactor = 10);

-- `began`: the last n that was there when the incarnation began.
CREATE TABLE incarnations (
    incarnation bigint PRIMARY KEY,
    began bigint NOT NULL
);

-- `stream` is TENANT/CATEGORY/NAME here and below; "C" orders text by its bytes.
CREATE TABLE events (
    n bigint PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    schema integer NOT NULL,
    time bigint NOT NULL,
    causation uuid,
    correlation uuid,
    session uuid,
    key_id text,
    ends boolean NOT NULL,
    side bytea,
    body bytea NOT NULL
);
CREATE UNIQUE INDEX events_stream ON events (stream, version);

-- From here on: folds of the log, or what costs only repeats when lost.
CREATE TABLE claims (
    key bytea PRIMARY KEY,
    request bytea NOT NULL,
    answer text NOT NULL,
    expires bigint
);

CREATE TABLE wake_ups (
    stream text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    category text COLLATE "C" NOT NULL GENERATED ALWAYS AS (split_part(stream, '/', 2)) STORED,
    due bigint NOT NULL,
    owner uuid,
    PRIMARY KEY (stream, name)
);
CREATE INDEX wake_ups_due ON wake_ups (category, due, stream, name);

CREATE TABLE listings (
    stream text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL GENERATED ALWAYS AS (split_part(stream, '/', 1)) STORED,
    category text COLLATE "C" NOT NULL GENERATED ALWAYS AS (split_part(stream, '/', 2)) STORED,
    kind text NOT NULL,
    status text NOT NULL,
    principal text,
    labels jsonb NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL
);
CREATE INDEX listings_newest ON listings (tenant, category, created, stream);
CREATE INDEX listings_labels ON listings USING gin (labels jsonb_path_ops);

CREATE TABLE payloads (
    id bytea PRIMARY KEY,
    bytes bytea NOT NULL
);

CREATE TABLE payload_refs (
    payload bytea NOT NULL,
    stream text COLLATE "C" NOT NULL,
    PRIMARY KEY (payload, stream)
);

CREATE TABLE snapshots (
    stream text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    schema integer NOT NULL,
    hash bytea NOT NULL,
    body bytea NOT NULL
);

CREATE TABLE checkpoints (
    subscriber text COLLATE "C" PRIMARY KEY,
    position text NOT NULL
);

-- `until` is by this server's clock.
CREATE TABLE leases (
    name text COLLATE "C" PRIMARY KEY,
    holder uuid NOT NULL,
    until timestamptz NOT NULL,
    wanted boolean NOT NULL
);
