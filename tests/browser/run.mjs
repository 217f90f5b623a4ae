/* Judges vectors with the module, in the form in which tests/vectors/judging.py says what Python makes of them. */
import { verifyOpening } from "./verify.mjs";

function fileOf({ file, base64, spaces = 0 }) {
  const bytes = file === undefined ? Uint8Array.from(atob(base64), (one) => one.charCodeAt(0)) : new TextEncoder().encode(file);
  const padded = new Uint8Array(bytes.length + spaces).fill(0x20);
  padded.set(bytes);
  return padded;
}
async function judge({ vkey, policy, now, ...vector }) {
  try {
    return { proves: await verifyOpening(fileOf(vector), { vkey, policy, now }) };
  } catch (error) {
    // Without a code the module stumbled: no code of Python's is equal to this.
    return { code: error.code ?? `${error.name}: ${error.message}` };
  }
}
/** Judge a JSON list of vectors; return the JSON list of what is said of each. */
export async function judgeAll(vectors) {
  const results = [];
  for (const vector of JSON.parse(vectors)) results.push(await judge(vector));
  return JSON.stringify(results);
}
