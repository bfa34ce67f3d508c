-- Version 1. JSON columns hold the whole record; the others are what is looked up, kept unique or sorted by.
-- Columns of time that end in `_us` are microseconds since 1970, rounded down, for sorting and windows.

CREATE TABLE kill_switch (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  switch TEXT NOT NULL
) STRICT;

-- Tokens up to this one may have been granted.
CREATE TABLE tokens (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  written INTEGER NOT NULL
) STRICT;
INSERT INTO tokens VALUES (1, 0);

CREATE TABLE episodes (
  number INTEGER PRIMARY KEY,
  episode TEXT NOT NULL UNIQUE,
  resolved_at TEXT NOT NULL
) STRICT;

-- `number` grows as reports are opened, `closed` as they are closed.
CREATE TABLE reports (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  record TEXT NOT NULL,
  response TEXT,
  closed INTEGER,
  CHECK ((response IS NULL) = (closed IS NULL))
) STRICT;
CREATE INDEX reports_open ON reports (number) WHERE closed IS NULL;
CREATE UNIQUE INDEX reports_closed ON reports (closed) WHERE closed IS NOT NULL;

-- The guard against doing a thing twice is this primary key. `past` grows as steps have both ended and a
-- report that is closed.
CREATE TABLE steps (
  key TEXT NOT NULL PRIMARY KEY,
  report TEXT NOT NULL,
  step INTEGER NOT NULL,
  request TEXT NOT NULL,
  state TEXT NOT NULL,
  ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
  token INTEGER NOT NULL,
  at TEXT NOT NULL,
  at_us INTEGER NOT NULL,
  past INTEGER
) STRICT;
CREATE INDEX steps_of_report ON steps (report);
CREATE INDEX steps_unfinished ON steps (at_us) WHERE ended = 0;
CREATE INDEX steps_past ON steps (past) WHERE past IS NOT NULL;

-- `number` grows as marks are taken. A report's action on a target takes one.
CREATE TABLE marks (
  number INTEGER PRIMARY KEY,
  report TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  identity TEXT NOT NULL,
  at_us INTEGER NOT NULL,
  run TEXT NOT NULL,
  UNIQUE (report, action, target)
) STRICT;
CREATE INDEX marks_at ON marks (at_us);
