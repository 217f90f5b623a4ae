-- The vault: keys of persons by class, of entries, and label keys, each wrapped by the key of a generation.

CREATE TABLE generation (number bigint PRIMARY KEY, probe bytea NOT NULL);

CREATE TABLE destruction (count bigint NOT NULL);
INSERT INTO destruction (count) VALUES (0);

CREATE TABLE node (
  class bigint NOT NULL,
  path bytea NOT NULL,
  generation bigint NOT NULL,
  wrapped bytea NOT NULL,
  PRIMARY KEY (class, path)
);

CREATE TABLE person (
  class bigint NOT NULL,
  pseudonym bytea NOT NULL,
  version bigint NOT NULL,
  generation bigint NOT NULL,
  wrapped bytea NOT NULL,
  PRIMARY KEY (class, pseudonym, version)
);

CREATE TABLE entry_key (id bytea PRIMARY KEY, generation bigint NOT NULL, wrapped bytea NOT NULL);

CREATE TABLE label (
  period bigint NOT NULL,
  pseudonym bytea NOT NULL,
  generation bigint NOT NULL,
  wrapped bytea NOT NULL,
  PRIMARY KEY (period, pseudonym)
);
