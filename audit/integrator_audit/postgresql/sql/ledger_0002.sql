-- Beside each full tile of level 0 its 16 nodes of height 4 (`tiles.TileRow`); all other tiles have none.

ALTER TABLE tile ADD nodes bytea NOT NULL DEFAULT '';
ALTER TABLE tile ALTER nodes DROP DEFAULT, ALTER nodes SET STORAGE EXTERNAL;

-- RFC 6962: a node is SHA-256(0x01 || left || right).
CREATE FUNCTION parents(hashes bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
  SELECT string_agg(sha256('\x01'::bytea || substr(hashes, 64 * at + 1, 64)), ''::bytea ORDER BY at)
  FROM generate_series(0, length(hashes) / 64 - 1) AS at
$$;
UPDATE tile SET nodes = parents(parents(parents(parents(data)))) WHERE level = 0 AND width = 256;
DROP FUNCTION parents;
