-- What version 1 wrote: the kill switch on, a report that is open with a step and a mark, and one that is
-- closed, whose episode has ended.
BEGIN TRANSACTION;
CREATE TABLE episodes (
  number INTEGER PRIMARY KEY,
  episode TEXT NOT NULL UNIQUE,
  resolved_at TEXT NOT NULL
) STRICT;
INSERT INTO "episodes" VALUES(1,'metric_anomaly|cart|Alert2','2025-05-05T08:00:03Z');
CREATE TABLE kill_switch (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  switch TEXT NOT NULL
) STRICT;
INSERT INTO "kill_switch" VALUES(1,'{"on":true,"by":"ops","reason":"night","at":"2025-05-05T08:00:00Z"}');
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
INSERT INTO "marks" VALUES(1,'inc-5f4aa46a197a3e46|01969f75-8000-7000-8000-000000000001|1018d257f4ba21bd','restart_pod','{"namespace":"shop","pod":"cart-1"}','id',1746432000000000,'{"report":"inc-5f4aa46a197a3e46|01969f75-8000-7000-8000-000000000001|1018d257f4ba21bd","identity":"id","action":"restart_pod","target":{"namespace":"shop","pod":"cart-1"},"at":"2025-05-05T08:00:00Z"}');
CREATE TABLE reports (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  record TEXT NOT NULL,
  response TEXT,
  closed INTEGER,
  CHECK ((response IS NULL) = (closed IS NULL))
) STRICT;
INSERT INTO "reports" VALUES(1,'inc-5f4aa46a197a3e46|01969f75-8000-7000-8000-000000000001|1018d257f4ba21bd','{"id":"inc-5f4aa46a197a3e46|01969f75-8000-7000-8000-000000000001|1018d257f4ba21bd","triaged":{"incident_id":"inc-5f4aa46a197a3e46","event":{"event_id":"01969f75-8000-7000-8000-000000000001","kind":"metric_anomaly","service":"cart","severity":"warning","detected_at":"2025-05-05T08:00:00Z","source":"test","signal":{"value":9.0,"expected":1.0,"score":8.0,"threshold":3.0},"labels":{"alertname":"Alert1"},"fingerprint":"5f4aa46a197a3e46","observed_at":"2025-05-05T08:00:00Z"},"context_digest":"1018d257f4ba21bd","cited":[],"report":{"summary":"the pod hangs","likely_causes":[],"recommended_actions":["restart_pod"],"confidence":0.9,"needs_human":false},"provenance":{"triager":"test","input_tokens":0,"output_tokens":0,"latency":"0s","cache_hit":false},"at":"2025-05-05T08:00:00Z"},"plan":{"steps":[],"rules":[]},"at":"2025-05-05T08:00:00Z","catalogue":"","policy":""}',NULL,NULL);
INSERT INTO "reports" VALUES(2,'inc-aff4abd599c5fa65|01969f75-8000-7000-8000-000000000002|1018d257f4ba21bd','{"id":"inc-aff4abd599c5fa65|01969f75-8000-7000-8000-000000000002|1018d257f4ba21bd","triaged":{"incident_id":"inc-aff4abd599c5fa65","event":{"event_id":"01969f75-8000-7000-8000-000000000002","kind":"metric_anomaly","service":"cart","severity":"warning","detected_at":"2025-05-05T08:00:00Z","source":"test","signal":{"value":9.0,"expected":1.0,"score":8.0,"threshold":3.0},"labels":{"alertname":"Alert2"},"fingerprint":"aff4abd599c5fa65","observed_at":"2025-05-05T08:00:00Z"},"context_digest":"1018d257f4ba21bd","cited":[],"report":{"summary":"the pod hangs","likely_causes":[],"recommended_actions":["restart_pod"],"confidence":0.9,"needs_human":false},"provenance":{"triager":"test","input_tokens":0,"output_tokens":0,"latency":"0s","cache_hit":false},"at":"2025-05-05T08:00:00Z"},"plan":{"steps":[],"rules":[]},"at":"2025-05-05T08:00:00Z","catalogue":"","policy":""}','{"incident_id":"inc-aff4abd599c5fa65","disposition":{"disposition":"executed"},"plan":{"steps":[],"rules":[]},"at":"2025-05-05T08:00:01Z"}',1);
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
INSERT INTO "steps" VALUES('restart_pod|namespace=shop,pod=cart-1|5f4aa46a197a3e46','inc-5f4aa46a197a3e46|01969f75-8000-7000-8000-000000000001|1018d257f4ba21bd',0,'{"action":"restart_pod","target":{"namespace":"shop","pod":"cart-1"},"parameters":{},"service":"cart","fingerprint":"5f4aa46a197a3e46","incident_id":"inc-1","fencing_token":7,"deadline":"2025-05-05T08:01:00Z","dry_run":false}','{"state":"started"}',0,7,'2025-05-05T08:00:00Z',1746432000000000,NULL);
CREATE TABLE tokens (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  written INTEGER NOT NULL
) STRICT;
INSERT INTO "tokens" VALUES(1,7);
CREATE INDEX reports_open ON reports (number) WHERE closed IS NULL;
CREATE UNIQUE INDEX reports_closed ON reports (closed) WHERE closed IS NOT NULL;
CREATE INDEX steps_of_report ON steps (report);
CREATE INDEX steps_unfinished ON steps (at_us) WHERE ended = 0;
CREATE INDEX steps_past ON steps (past) WHERE past IS NOT NULL;
CREATE INDEX marks_at ON marks (at_us);
COMMIT;
PRAGMA application_id = 1634299760;
PRAGMA user_version = 1;
