-- The log of one half-year. Tables and columns have the names that the embedded store gives them.

CREATE TABLE identity (origin text COLLATE "C" NOT NULL, vkey text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL);

-- One row. `generation` counts the writers; a commit moves `size`, and finds both as it left them, or is refused.
CREATE TABLE lease (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  generation bigint NOT NULL,
  size bigint NOT NULL
);
INSERT INTO lease (generation, size) VALUES (0, 0);

CREATE TABLE closing (size bigint PRIMARY KEY);

CREATE TABLE statement (aid bigint PRIMARY KEY, digest bytea NOT NULL UNIQUE, bytes bytea NOT NULL);

CREATE TABLE recipient (
  rid integer PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  seal bigint NOT NULL
);

-- Columns of fixed width come first: rows have no padding between them.
CREATE TABLE entry (
  idx bigint PRIMARY KEY,
  aid bigint NOT NULL,
  at bigint NOT NULL,
  seal bigint NOT NULL,
  rid integer,
  kv integer NOT NULL,
  t smallint NOT NULL,
  years smallint NOT NULL,
  listed boolean NOT NULL,
  subject bytea,
  salt bytea NOT NULL,
  h bytea NOT NULL,
  pk bytea,
  body bytea NOT NULL,
  p bytea NOT NULL
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02);
-- Ciphertext does not compress: PostgreSQL must not try.
ALTER TABLE entry ALTER body SET STORAGE EXTERNAL, ALTER p SET STORAGE EXTERNAL;
-- By blocks of 2^15 entries, so that a commit touches the newest pages only; a reader looks into each block.
CREATE INDEX by_subject ON entry ((idx >> 15), subject, idx) WHERE subject IS NOT NULL AND listed;
CREATE INDEX by_recipient ON entry ((idx >> 15), rid, idx) WHERE rid IS NOT NULL;
CREATE INDEX unlisted ON entry (idx) WHERE NOT listed;

CREATE TABLE draw (first bigint PRIMARY KEY, count bigint NOT NULL, salt bytea NOT NULL UNIQUE);

CREATE TABLE erased (idx bigint PRIMARY KEY, ground text COLLATE "C" NOT NULL);

-- The tiles at the right edge are replaced as they fill; room in the page keeps their new versions beside the old.
CREATE TABLE tile (
  level smallint NOT NULL,
  n bigint NOT NULL,
  width integer NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (level, n)
) WITH (fillfactor = 70);
ALTER TABLE tile ALTER data SET STORAGE EXTERNAL;

CREATE TABLE checkpoint (
  size bigint NOT NULL,
  at bigint NOT NULL,
  root bytea NOT NULL,
  note bytea NOT NULL,
  consumed bytea NOT NULL,
  seal bigint NOT NULL,
  PRIMARY KEY (size, at)
);

CREATE TABLE published (size bigint PRIMARY KEY, note bytea NOT NULL, seal bigint NOT NULL);

CREATE TABLE position (
  topic text COLLATE "C" NOT NULL,
  part bigint NOT NULL,
  next bigint NOT NULL,
  PRIMARY KEY (topic, part)
);

CREATE TABLE set_aside (
  topic text COLLATE "C" NOT NULL,
  part bigint NOT NULL,
  position bigint NOT NULL,
  reason text COLLATE "C" NOT NULL,
  seal bigint NOT NULL,
  PRIMARY KEY (topic, part, position)
);
