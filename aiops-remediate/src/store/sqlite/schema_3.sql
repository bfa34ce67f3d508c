-- Version 3: answered reports of which people were not told yet, as they were closed.

CREATE TABLE untold (
  number INTEGER PRIMARY KEY,
  report TEXT NOT NULL UNIQUE
) STRICT;
