-- Version 2: guards and approvals.

-- Only guards that stand tripped.
CREATE TABLE guards (
  name TEXT NOT NULL PRIMARY KEY,
  bad_us INTEGER NOT NULL,
  guard TEXT NOT NULL
) STRICT;

-- `past` grows as reports with approvals are closed.
CREATE TABLE approvals (
  id TEXT NOT NULL PRIMARY KEY,
  report TEXT NOT NULL,
  step INTEGER NOT NULL,
  place TEXT NOT NULL,
  waits INTEGER NOT NULL CHECK (waits IN (0, 1)),
  approval TEXT NOT NULL,
  past INTEGER,
  UNIQUE (report, step)
) STRICT;
-- One waits for an action on a target.
CREATE UNIQUE INDEX approvals_waiting ON approvals (place) WHERE waits = 1;
CREATE INDEX approvals_past ON approvals (past) WHERE past IS NOT NULL;
