-- Files beside the store that hold the events of streams that have ended.
CREATE TABLE segments (
    file TEXT PRIMARY KEY,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX segments_last ON segments (last);

-- Which versions of which stream are where.
CREATE TABLE sealed (
    stream INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    file TEXT NOT NULL,
    PRIMARY KEY (stream, first)
) STRICT, WITHOUT ROWID
