/* Verifies openings of a disclosure ledger, in a browser or in Node, with WebCrypto and nothing else.
 *
 * - Believed is only what the log's key signed and, with a policy, what a quorum of witnesses cosigned. What the Python
 *   library accepts is accepted, and what fails, fails with the same code: both are held to tests/vectors.
 * - Show people what comes back from here, never text that a server sent beside it.
 * - Key, policy and this file come from elsewhere than the openings: who serves the checker can serve one that lies.
 * - An error has a stable `code` and a message for people. `not-possible` is not a failure: show "could not check".
 * LIMIT: signatures of type 0x06 (ML-DSA-44) are not counted here: WebCrypto has no such algorithm yet. */
const MAX_FILE = 1 << 20, MAX_PART = 0xffff, MAX_NOTE = 1 << 17, MAX_DEPTH = 32, MAX_SIGNATURES = 16, MAX_HASHES = 63;
const LOG_KEY = [0x01, 32], COSIGNING_KEY = [0x04, 32], ML_DSA_KEY = [0x06, 1312]; // types and sizes in bytes
const CLOCK_SKEW_SECONDS = 300, MAX_TIME = (1n << 63n) - 1n, FIELD = (1n << 255n) - 19n; // y² of small order:
const SMALL_ORDER = [0n, 1n, 0x76b9125b8bd5b257c2c2ebc2ba609c056bdf9e34b4f0a103ae4791859c155291n];
const SCHEMA = /^\{"schema":"[a-z][a-z0-9.-]*(?:\/[a-z0-9.-]+)*\/v[1-9][0-9]{0,4}"[,}]/;
// Unicode's white space, named one by one: \s counts U+FEFF and leaves out U+0085, other languages do not.
const NO_NAME = /^$|[\0-\x20+\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
// A byte order mark is a character like any other: were it dropped, two different texts would be one.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }), encoder = new TextEncoder();
const subtle = globalThis.crypto?.subtle; // absent on a page that came over plain http

export function fail(code, message) {
  throw Object.assign(new Error(message), { code });
}
const malformed = (message) => fail("opening-malformed", `the opening cannot be believed: ${message}`);
function attempt(action, otherwise) { try { return action(); } catch { return otherwise(); } }

// ---- bytes and texts ----
export const utf8 = (text) => encoder.encode(text);
export const join = (...pieces) => Uint8Array.from(pieces.flatMap((piece) => Array.from(piece)));
export const sha256 = async (...pieces) => new Uint8Array(await subtle.digest("SHA-256", join(...pieces)));
export const equal = (one, other) => one.length === other.length && one.every((value, at) => value === other[at]);
export const hex = (bytes) => Array.from(bytes, (value) => value.toString(16).padStart(2, "0")).join("");
const decode = (bytes) => attempt(() => decoder.decode(bytes), () => malformed("a text is not UTF-8"));
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const sorted = (names) => JSON.stringify(names.sort());
const hasExactly = (value, ...names) => isObject(value) && sorted(Object.keys(value)) === sorted(names);

/** Decode base64 in its one form: atob alone takes spaces, missing padding and loose bits. */
export function base64(text, size) {
  const binary = attempt(() => atob(text), () => undefined);
  if (binary === undefined || btoa(binary) !== text) malformed("bytes are not in base64");
  if (size !== undefined && binary.length !== size) malformed(`a hash, salt or root has ${size} bytes`);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
const decimal = (text) =>
  /^(?:0|[1-9][0-9]{0,18})$/.test(text) && BigInt(text) <= MAX_TIME ? BigInt(text) : malformed("a number is not plain");

// ---- JSON that no two readers understand differently ----
function parse(text) {
  const refuse = (what) => malformed(`its JSON has ${what}`);
  const value = attempt(() => JSON.parse(text), () => malformed("it is not JSON"));
  // JSON.parse keeps the last of two equal keys and rounds numbers, both without a word: look at the text too.
  const open = []; // for every object around, its keys so far; for a list, null
  for (const [token, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[[\]{}]|null|-?\d[\d.eE+-]*/g)) {
    if (token === "{" || token === "[") {
      if (open.push(token === "{" ? new Set() : null) > MAX_DEPTH) refuse("too many levels");
    } else if (token === "]" || token === "}") open.pop();
    else if (token[0] === '"') {
      const said = JSON.parse(colon === undefined ? token : token.slice(0, -colon.length)), keys = open.at(-1);
      if (/\p{Surrogate}/u.test(said)) refuse("a surrogate without its pair");
      if (colon === undefined) continue;
      // JavaScript moves keys that are integers to the front.
      if (keys.has(said) || /^[0-9]+$/.test(said)) refuse("a key twice, or one made of digits");
      keys.add(said);
    } else if (!/^(?:0|-?[1-9]\d*)$/.test(token) || !Number.isSafeInteger(Number(token))) {
      refuse("null, or a number that is no plain integer");
    }
  }
  return isObject(value) ? value : refuse("no object at its top");
}
/** Read the text or bytes of a file. */
export function readDocument(file) {
  const bytes = typeof file === "string" ? utf8(file) : file;
  const isFile = ArrayBuffer.isView(bytes) && bytes.byteLength <= MAX_FILE; // a buffer itself says no length
  return isFile ? parse(decode(bytes)) : malformed(`a file is text or an array of at most ${MAX_FILE} bytes`);
}
/** Return what a part says. Its bytes are the one form of that: comparing finds white space, escapes and the like. */
function readPart(bytes) {
  if (bytes.length === 0) return {};
  const [text, value] = attempt(() => [decode(bytes), parse(decode(bytes))], () => []);
  const isOneForm = bytes.length <= MAX_PART && SCHEMA.test(text ?? "") && JSON.stringify(value) === text;
  return isOneForm ? value : fail("opening-part", "the opening cannot be believed: a part is not in its one form");
}

// ---- keys and signed notes: c2sp.org/signed-note, c2sp.org/tlog-checkpoint ----
/** Read the text of a key, `name+id+base64(type ‖ key)`, that is of one of the kinds. */
async function readKey(text, ...kinds) {
  const [, name, id, encoded] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? fail("vkey", "a key is name+id+base64");
  const bytes = attempt(() => base64(encoded), () => fail("vkey", "a key is in base64"));
  const isKind = kinds.some(([type, size]) => bytes[0] === type && bytes.length === size + 1);
  const digest = hex(await sha256(utf8(`${name}\n`), bytes)), y = BigInt(`0x0${hex(bytes.slice(1, 33).reverse())}`);
  if (!isKind || NO_NAME.test(name) || digest.slice(0, 8) !== id) fail("vkey", "the key is of another kind");
  const square = (y % (1n << 255n)) ** 2n % FIELD; // the highest bit is the sign of x
  if (bytes[0] !== ML_DSA_KEY[0] && SMALL_ORDER.includes(square)) fail("vkey", "everybody can sign with the key");
  return { name, id, type: bytes[0], bytes: bytes.subarray(1) };
}
/** Read the key of a log. */
export async function readLogKey(text) {
  return subtle ? readKey(text, LOG_KEY) : fail("not-possible", "only pages that came over https can check");
}
async function hasSigned(key, signature, message) {
  const impossible = () => fail("not-possible", "this browser cannot check the ledger's signatures");
  const imported = await subtle.importKey("raw", key.bytes, "Ed25519", false, ["verify"]).catch(impossible);
  return subtle.verify("Ed25519", imported, signature, message);
}
function readNote(bytes) {
  const note = decode(bytes), end = note.lastIndexOf("\n\n") + 1, lines = note.slice(end + 1);
  // Signed is everything before the last empty line, with the newline that ends it.
  if (bytes.length > MAX_NOTE || /[\0-\t\v-\x1f]/.test(note)) malformed("a note is short, and plain text");
  if (end === 0 || !lines.endsWith("\n")) malformed("a note is a text, an empty line and signature lines");
  const signatures = lines.slice(0, -1).split("\n").map((line) => {
    const [, name, encoded] = /^\u2014 ([^ ]*) (.*)$/s.exec(line) ?? malformed("a signature line has another form");
    const value = base64(encoded);
    if (NO_NAME.test(name) || value.length < 5) malformed("a signature line has another form");
    return { name, id: hex(value.subarray(0, 4)), value: value.subarray(4) };
  });
  if (signatures.length > MAX_SIGNATURES) malformed(`a note has at most ${MAX_SIGNATURES} signatures`);
  return { text: note.slice(0, end), signatures };
}
async function openCheckpoint({ text, signatures }, key) {
  const lines = text.split("\n");
  if (lines.length !== 4 || NO_NAME.test(lines[0])) malformed("a checkpoint has three lines");
  const size = decimal(lines[1]), root = base64(lines[2], 32);
  if (size === 0n && !equal(root, await sha256())) malformed("the root of an empty log is the hash of nothing");
  // A signature of an unknown key says nothing; a wrong one of a known key condemns the whole note.
  const own = signatures.filter(({ name, id }) => name === key.name && id === key.id);
  for (const { value } of own) {
    if (!(await hasSigned(key, value, utf8(text)))) fail("opening-checkpoint", "the log's signature does not hold");
  }
  if (own.length === 0) fail("opening-checkpoint", "the checkpoint is not signed by the log's key");
  if (lines[0] !== key.name) fail("opening-checkpoint", "the checkpoint is of another log");
  return { size, root };
}

// ---- witnesses: c2sp.org/tlog-policy, c2sp.org/tlog-cosignature ----
/** Read a policy: which logs and witnesses to trust, and which of the witnesses together are a quorum. */
export async function readPolicy(text) {
  const policy = { logs: [], witnesses: [], groups: [] }, names = new Set(["none"]), others = new Set();
  const rule = (holds) => holds || fail("policy", "the policy breaks a rule of c2sp.org/tlog-policy");
  const onlyOnce = (set, item) => rule(set.size !== set.add(item).size);
  rule(text.endsWith("\n") && !/[\0-\x08\v-\x1f\x7f]/.test(text));
  for (const line of text.split("\n")) {
    const [word, ...items] = line.split(/[ \t]+/).filter((item) => item !== ""), [name, second, ...members] = items;
    if (word === undefined || word.startsWith("#")) continue;
    if (word === "log" && (items.length === 1 || items.length === 2)) {
      policy.logs.push(await readKey(name, LOG_KEY, ML_DSA_KEY).catch(() => rule(false)));
      onlyOnce(others, `log ${policy.logs.at(-1).bytes}`);
    } else if (word === "witness" && (items.length === 2 || items.length === 3)) {
      const key = await readKey(second, COSIGNING_KEY, ML_DSA_KEY).catch(() => rule(false));
      policy.witnesses.push({ label: name, ...key });
      onlyOnce(names, name) && onlyOnce(others, `witness ${key.bytes}`);
    } else if (word === "group" && items.length > 2) {
      const asked = /^[1-9]\d{0,5}$/.test(second) ? Number(second) : Infinity;
      const threshold = { all: members.length, any: 1 }[second] ?? asked;
      // Names of earlier lines only, and each in one group at most: a witness counts once.
      for (const member of members) {
        rule(member !== "none" && names.has(member)) && onlyOnce(others, `member ${member}`);
      }
      rule(threshold <= members.length) && onlyOnce(names, name);
      policy.groups.push({ name, threshold, members });
    } else {
      rule(word === "quorum" && items.length === 1 && names.has(name) && policy.quorum === undefined);
      policy.quorum = name;
    }
  }
  return rule(policy.quorum !== undefined) && policy;
}
async function checkQuorum({ text, signatures }, origin, { logs, witnesses, groups, quorum }, now) {
  const isTrusted = logs.length === 0 || logs.some(({ name }) => name === origin), seen = new Set(["none"]);
  if (!isTrusted) fail("receipt-log", "the policy does not trust this log");
  for (const { name, id, value } of signatures) {
    const witness = witnesses.find((known) => known.name === name && known.id === id);
    if (witness === undefined || witness.type !== COSIGNING_KEY[0]) continue;
    const wrong = () => fail("receipt-cosignature", `the cosignature of ${name} does not hold`);
    const time = value.length === 8 + 64 ? new DataView(value.buffer, value.byteOffset).getBigUint64(0) : wrong();
    const message = utf8(`cosignature/v1\ntime ${time}\n${text}`);
    if (time > MAX_TIME || !(await hasSigned(witness, value.subarray(8), message))) wrong();
    // Without a time, or with one that no clock five minutes off explains, it says nothing.
    if (time > 0n && Number(time) <= now + CLOCK_SKEW_SECONDS) seen.add(witness.label);
  }
  for (const { name, threshold, members } of groups) {
    if (members.filter((member) => seen.has(member)).length >= threshold) seen.add(name);
  }
  if (!seen.has(quorum)) fail("receipt-quorum", "too few witnesses cosigned: others may be shown another log");
}

// ---- openings: documents/opening.v1.json, c2sp.org/tlog-proof ----
export function readProof(bytes) {
  const text = decode(bytes), end = text.indexOf("\n\n"), [header, index, ...lines] = text.slice(0, end).split("\n");
  const isProof = end >= 0 && header === "c2sp.org/tlog-proof@v1" && index?.startsWith("index ");
  if (!isProof) malformed("its proof is no tlog-proof");
  if (lines.length > MAX_HASHES) malformed(`a proof has at most ${MAX_HASHES} hashes`);
  const siblings = lines.map((line) => base64(line, 32));
  return { index: decimal(index.slice("index ".length)), siblings, note: utf8(text.slice(end + 2)) };
}
/** Follow a proof from the hash of a leaf to the root of a log (RFC 9162 §2.1.3.2); say whether it leads there. */
async function isIncluded(leaf, { index, siblings }, { size, root }) {
  let position = index, last = size - 1n, hash = leaf;
  if (index >= size) return false;
  for (const sibling of siblings) {
    if (last === 0n) return false;
    if (position & 1n || position === last) {
      hash = await sha256([1], sibling, hash);
      for (; !(position & 1n) && position !== 0n; position >>= 1n) last >>= 1n;
    } else hash = await sha256([1], hash, sibling);
    position >>= 1n;
    last >>= 1n;
  }
  return last === 0n && equal(hash, root);
}
/** Check that a proof leads from a leaf to a checkpoint of the key's log, and the quorum; return the checkpoint. */
export async function checkProof({ index, siblings, note }, leaf, { key, policy, now, wrong }) {
  const parsed = readNote(note), checkpoint = await openCheckpoint(parsed, key);
  if (!(await isIncluded(leaf, { index, siblings }, checkpoint))) wrong();
  if (policy !== undefined) {
    await checkQuorum(parsed, key.name, typeof policy === "string" ? await readPolicy(policy) : policy, now);
  }
  return checkpoint;
}
/** Verify the text or bytes of an opening's file with the log's key; return what it proves.
 *
 * That is { origin, index, size, type, parts, root }, where `parts` maps the letters that were opened to what they say,
 * and `root` is the log's at `size`, in base64. With `policy` (its text, or from `readPolicy`) it counts only with the
 * cosignatures of the quorum; without one, others may be shown another log. `now` is in seconds since 1970. */
export async function verifyOpening(file, { vkey, policy, now = Date.now() / 1000 }) {
  const opening = readDocument(file), key = await readLogKey(vkey), { origin, index, type } = opening;
  const isNamed = typeof origin === "string" && Number.isInteger(index) && (type === 1 || type === 2);
  if (!isNamed) malformed("it says no origin, index and type");
  const names = ["origin", "index", "type", "proof"], hashes = [], parts = {};
  for (const letter of "ADSP") {
    const { [letter]: opened, [`h${letter}`]: closed } = opening;
    if ((opened === undefined) === (closed === undefined)) malformed(`it has either part ${letter} or its hash`);
    names.push(opened === undefined ? `h${letter}` : letter);
    if (opened === undefined) hashes.push(base64(closed, 32));
    else {
      if (!hasExactly(opened, "salt", "bytes")) malformed(`part ${letter} has a salt and bytes`);
      const salt = base64(opened.salt, 32), bytes = base64(opened.bytes);
      hashes.push(await sha256(utf8(`dienstenintegrator/part/v1\0${letter}`), salt, bytes));
      parts[letter] = readPart(bytes);
    }
  }
  if (!hasExactly(opening, ...names)) malformed("it has other members than an opening");
  const proof = readProof(base64(opening.proof));
  if (proof.index !== BigInt(index)) fail("opening-index", "the opening and its proof are for different entries");
  if (origin !== key.name) fail("opening-origin", "the opening and the key are of different logs");
  const entry = [utf8("dienstenintegrator/entry/v1\0"), await sha256(utf8(origin)), [type], ...hashes];
  const leaf = await sha256([0], [type], await sha256(...entry));
  const wrong = () => fail("opening-commitment", "the entry says something else");
  const { size, root } = await checkProof(proof, leaf, { key, policy, now, wrong });
  return { origin, index, size: Number(size), type, parts, root: btoa(String.fromCharCode(...root)) };
}
