-- The tries of every sealed day, in pages. Tables have the names that the embedded index gives them.

-- One row, as in a log: `generation` counts the sealers.
CREATE TABLE lease (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  generation bigint NOT NULL,
  size bigint NOT NULL
);
INSERT INTO lease (generation, size) VALUES (0, 0);

CREATE TABLE sealed (epoch bigint PRIMARY KEY, leaf bytea NOT NULL);

CREATE TABLE cut (
  epoch bigint NOT NULL,
  shard integer NOT NULL,
  origin text COLLATE "C" NOT NULL,
  size bigint NOT NULL,
  note bytea NOT NULL,
  PRIMARY KEY (epoch, shard)
);

CREATE TABLE trie (
  epoch bigint NOT NULL,
  trie smallint NOT NULL,
  leaves bigint NOT NULL,
  bits integer NOT NULL,
  PRIMARY KEY (epoch, trie)
);

-- Pages are hashes, salts and numbers: PostgreSQL must not try to compress them.
CREATE TABLE page (
  epoch bigint NOT NULL,
  trie smallint NOT NULL,
  level smallint NOT NULL,
  number bigint NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (epoch, trie, level, number)
);
ALTER TABLE page ALTER data SET STORAGE EXTERNAL;

CREATE TABLE place (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  epoch bigint NOT NULL,
  trie smallint NOT NULL,
  label bytea NOT NULL,
  data bytea NOT NULL
);
CREATE INDEX place_of ON place (epoch, trie, label, id);

CREATE TABLE altered (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  epoch bigint NOT NULL,
  was bytea NOT NULL,
  "left" bytea NOT NULL
);
CREATE INDEX altered_in ON altered (epoch, id);
