/* Verifies, with verify.mjs, that a day or half-year of the ledger lists nothing about a person but what is shown.
 *
 * - `verifyEpoch` proves a leaf of the epoch log; `verifyLabelKey` that a secret is that of the person's own number, of
 *   which there is no second one; `verifyDay` what the leaf's trie lists under the label that follows from both.
 * - With an answer for every day, and each listed entry opened by `verifyOpening` under the `size` and `root` that the
 *   leaf says of its shard, nothing that is listed is missing. Formats: documents/history.v1.json.
 * - Codes are those of the Python library: both are held to tests/vectors.
 * LIMIT: a leaf is checked by itself. That a day continues where the other ended is seen by who reads the whole log. */
import { base64, checkProof, equal, fail, hex, join, readLogKey, readProof, sha256, utf8 } from "./verify.mjs";

const EMPTY = new Uint8Array(32), DAY_MS = 86_400_000, DAY_ZERO = Date.UTC(2000, 0, 1), PERIOD_LEVEL = 2;
const LEAST_RETENTION_YEARS = 2, MAX_SIBLINGS = 256;
const MODULUS_BYTES = 384, EXPONENT = 65537n, ROOTS = 9, SMALL_PRIMES = 1 << 20;
// The one form in DER of an RSA key of exactly 3,072 bits with the exponent 65537 is its modulus between these bytes.
const SPKI_HEAD = "308201a2300d06092a864886f70d01010105000382018f003082018a0282018100", SPKI_TAIL = "0203010001";

const malformed = (message) => fail("document-malformed", message);
const isIndex = (value) => Number.isSafeInteger(value) && value >= 0;
function integer(value, size) { // big-endian
  if (!isIndex(value) || value >= 2 ** (8 * size)) malformed("a number is out of range");
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes.subarray(8 - size);
}
function bytesOf(text, size) {
  try { return base64(text, size); } catch { return malformed("bytes are not in base64, or too many or too few"); }
}
/** Return an object that has exactly these members. */
function members(value, ...names) {
  const found = typeof value === "object" && value !== null ? JSON.stringify(Object.keys(value).sort()) : "";
  return found === JSON.stringify(names.sort()) ? value : malformed("it has other members than its schema");
}
/** Return the first day of a half-year, (year − 2000) × 2 + half − 1, counted from 2000-01-01. */
const firstDay = (period) => (Date.UTC(2000 + (period >> 1), period & 1 ? 6 : 0, 1) - DAY_ZERO) / DAY_MS;

/** Verify that the epoch log says this about a day; return the leaf. `proof` is a tlog-proof (bytes) under its key. */
export async function verifyEpoch(leaf, proof, { vkey, policy, now = Date.now() / 1000 }) {
  const parsed = readProof(proof), key = await readLogKey(vkey), said = readEpochLeaf(leaf);
  const wrong = () => fail("epoch-proof", "the epoch log does not say this");
  await checkProof(parsed, await sha256([0], leaf), { key, policy, now, wrong });
  if (parsed.index !== BigInt(said.epoch)) fail("epoch-index", "the leaf stands in the place of another day");
  return said;
}

/** Read a leaf: 0x10, its version, the day, what each shard holds of it, and the roots of its tries. */
export function readEpochLeaf(bytes) {
  const wrong = () => fail("epoch-leaf", "this is no epoch leaf of version 1");
  if (bytes.length < 234 || bytes[0] !== 0x10 || bytes[1] !== 1) wrong();
  const view = new DataView(bytes.buffer, bytes.byteOffset), count = view.getUint16(120), tail = 122 + 50 * count;
  const number = (at) => Number(view.getBigUint64(at)), hash = (at) => bytes.subarray(at, at + 32);
  if (bytes.length !== tail + 112) wrong();
  const shards = Array.from({ length: count }, (_, item) => {
    const at = 122 + 50 * item;
    return { shard: view.getUint16(at), start: number(at + 2), end: number(at + 10), rootAtEnd: hash(at + 18) };
  });
  const leaf = {
    epoch: view.getUint32(2), period: view.getUint16(6), sealedAt: number(8), labelKey: hash(16), shards,
    listed: number(tail), unlisted: number(tail + 8),
    personsRoot: hash(tail + 16), recipientsRoot: hash(tail + 48), periodRoot: hash(tail + 80),
  };
  if (leaf.epoch < firstDay(leaf.period) || leaf.epoch >= firstDay(leaf.period + 1)) {
    fail("epoch-period", "the day is not of its half-year");
  }
  // An empty trie would prove to everybody that nothing is listed about them.
  if (equal(leaf.personsRoot, EMPTY) !== (leaf.listed === 0)) fail("epoch-roots", "entries are listed under nobody");
  return leaf;
}

/** Check the label key of a half-year and the signature `y` under it over the person's number, "scheme:value".
 *
 * Returns the secret from which the person's labels follow; it is theirs alone. */
export async function verifyLabelKey(given, { number, leaf }) {
  const { period, spki, certificate, y } = given ?? malformed("there is no label key");
  const name = utf8(number), isNumber = /^[^:]+:./.test(number) && name.length <= 0xffff;
  if (!isNumber) fail("person-number", "a person's number is given as scheme:value, for instance bsn:…");
  const key = bytesOf(spki), digits = hex(key), wrong = (what) => fail("label-key", `the label key ${what}`);
  const isRsa = key.length === 33 + MODULUS_BYTES + 5 && digits.startsWith(SPKI_HEAD) && digits.endsWith(SPKI_TAIL);
  if (!isRsa || key[33] < 0x80) wrong("is not an RSA key of 3,072 bits with exponent 65537 in its one form");
  const modulus = key.subarray(33, 33 + MODULUS_BYTES), n = BigInt(`0x${hex(modulus)}`);
  for (const prime of primes()) if (n % prime === 0n) wrong("has a small prime factor");
  if (period !== leaf.period || !equal(await sha256(key), leaf.labelKey)) {
    fail("label-key-other", "the label key is not the one in the epoch log: you would be shown another label's list");
  }
  const rejected = () => fail("label-key-certificate", "this key may give one person two labels");
  if (!Array.isArray(certificate) || certificate.length !== ROOTS) rejected();
  for (const [at, text] of certificate.entries()) {
    const root = BigInt(`0x${hex(bytesOf(text, MODULUS_BYTES))}`), mask = []; // MGF1, 256 bits longer than the modulus
    for (let block = 0; block < 13; block++) {
      mask.push(await sha256(utf8("dienstenintegrator/perm/v1\0"), modulus, [at], integer(block, 4)));
    }
    if (root >= n || power(root, n) !== BigInt(`0x${hex(join(...mask))}`) % n) rejected();
  }
  const signature = bytesOf(y, MODULUS_BYTES);
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const message = join(utf8("dienstenintegrator/label-key/v1\0"), integer(period, 2), integer(name.length, 2), name);
  const imported = await crypto.subtle.importKey("spki", key, algorithm, false, ["verify"]);
  if (!(await crypto.subtle.verify(algorithm, imported, signature, message))) {
    fail("label-signature", "the label's signature is not the label key's over this number");
  }
  return sha256(utf8("dienstenintegrator/label-out/v1\0"), signature);
}
function power(base, n) { // base ** 65537 modulo n
  let result = base;
  for (let squarings = 0; squarings < 16; squarings++) result = (result * result) % n;
  return (result * base) % n;
}
function* primes() {
  const isComposite = new Uint8Array(SMALL_PRIMES);
  for (let number = 2; number < SMALL_PRIMES; number++) {
    if (isComposite[number]) continue;
    yield BigInt(number);
    for (let multiple = number * number; multiple < SMALL_PRIMES; multiple += number) isComposite[multiple] = 1;
  }
}

/** Tell what a day's trie (or, at level 2 on its last day, a half-year's) lists under the labels of a secret.
 *
 * `day` is { epoch, level, siblings, end } of a history, `leaf` that of its epoch, verified. Returns { listed: [[shard,
 * index], …] }, empty when nothing is, or { erased: ground }. */
export async function verifyDay(day, { leaf, secret, now = Date.now() / 1000 }) {
  const { epoch, level, siblings, end } = members(day, "epoch", "level", "siblings", "end"), { period } = leaf;
  if (level !== 1 && level !== PERIOD_LEVEL) malformed("a level is 1 (day) or 2 (half-year)");
  const isAnswered = epoch === leaf.epoch && (level === 1 || epoch === firstDay(period + 1) - 1);
  if (!isAnswered) fail("day-unknown", "the leaf is not that of this answer");
  if (!Array.isArray(siblings) || typeof end !== "object" || end === null) malformed("it has no siblings or no end");
  const label = await labelOf(secret, level, level === PERIOD_LEVEL ? period : epoch);
  const path = siblings.map((sibling) => bytesOf(sibling, 32)), depth = path.length;
  const bit = (of, at) => (of[at >> 3] >> (7 - (at & 7))) & 1;
  let hash = EMPTY, result = { listed: [] };
  if (Object.hasOwn(end, "leaf")) {
    const { salt, list } = members(members(end, "leaf").leaf, "salt", "list"), content = bytesOf(salt, 32);
    result = { listed: checkList(list, leaf, level) };
    const places = list.map(([shard, index]) => join(integer(shard, 2), integer(index, 8)));
    const listed = await sha256(utf8("dienstenintegrator/index/v1\0"), content, integer(list.length, 4), ...places);
    hash = await sha256([2], label, listed);
  } else if (Object.hasOwn(end, "erased")) {
    const { hL, ground } = members(members(end, "erased").erased, "hL", "ground");
    if (ground !== "retention" && ground !== "order") malformed("the ground of an erasure is retention or order");
    result = { erased: ground };
    hash = await sha256([2], label, bytesOf(hL, 32));
  } else if (Object.hasOwn(end, "other")) {
    const other = members(members(end, "other").other, "label", "hL"), its = bytesOf(other.label, 32);
    hash = await sha256([2], its, bytesOf(other.hL, 32));
    if (equal(its, label)) fail("trie-proof-present", "the proof that nothing is listed ends at the label's own leaf");
    if (path.some((_, at) => at < 256 && bit(its, at) !== bit(label, at))) {
      fail("trie-proof-foreign", "the proof that nothing is listed ends at a leaf that has its place elsewhere");
    }
  } else if (members(end, "empty").empty !== true) malformed("an end is a leaf, an erased one, another's or empty");
  if (depth > MAX_SIBLINGS) fail("trie-proof-depth", `a proof in a trie has at most ${MAX_SIBLINGS} siblings`);
  // A subtree with one leaf is that leaf: otherwise one leaf could be shown at many depths.
  if (depth > 0 && equal(path[0], EMPTY)) fail("trie-proof-sibling", "the end of a proof has an empty sibling");
  for (const [at, sibling] of path.entries()) {
    hash = await sha256([3], ...(bit(label, depth - 1 - at) ? [sibling, hash] : [hash, sibling]));
  }
  const root = level === PERIOD_LEVEL ? leaf.periodRoot : leaf.personsRoot;
  if (!equal(hash, root)) fail("trie-proof-root", "the proof does not lead to the root of the trie");
  const over = new Date(DAY_ZERO + (firstDay(period + 1) - 1) * DAY_MS);
  over.setUTCFullYear(over.getUTCFullYear() + LEAST_RETENTION_YEARS);
  if (result.erased === "retention" && now * 1000 < over.getTime() + DAY_MS) {
    fail("erased-young", "a list that is said to be erased for its age is too young for that: it is withheld");
  }
  return result;
}
async function labelOf(secret, level, number) {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const message = join(utf8("dienstenintegrator/label/v1\0"), [level], integer(number, 4));
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, message));
}
function checkList(list, leaf, level) {
  const isPair = (item) => Array.isArray(item) && item.length === 2 && item.every(isIndex);
  if (!Array.isArray(list) || !list.every(isPair)) malformed("a list has pairs of a shard and an index");
  const follows = ([shard, index], [before, last]) => shard > before || (shard === before && index > last);
  const ascends = list.every((place, at) => at === 0 || follows(place, list[at - 1]));
  if (list.length === 0 || !ascends) fail("list-order", "a list names entries, in strictly ascending order");
  const isOf = (range, [shard, index]) => range.shard === shard && index < range.end
    && (level === PERIOD_LEVEL || index >= range.start);
  const isInside = list.every((place) => leaf.shards.some((range) => isOf(range, place)));
  return isInside ? list : fail("list-outside", "the list names an entry that is not of that day");
}
