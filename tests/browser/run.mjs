/* Judges vectors with the modules, in the form in which tests/vectors/judging.py says what Python makes of them. */
import { verifyDay, verifyEpoch, verifyLabelKey, readEpochLeaf } from "./verify-day.mjs";
import { verifyOpening } from "./verify.mjs";

const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
const text = (data) => btoa(String.fromCharCode(...data));

const fileOf = ({ file, base64 }) => (file === undefined ? bytes(base64) : new TextEncoder().encode(file));
const judges = {
  opening: ({ vkey, policy, now, ...vector }) => verifyOpening(fileOf(vector), { vkey, policy, now }),
  async day({ day, leaf, y, now }) {
    const prefix = new TextEncoder().encode("dienstenintegrator/label-out/v1\0");
    const secret = new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array([...prefix, ...bytes(y)])));
    return verifyDay(day, { leaf: readEpochLeaf(bytes(leaf)), secret, now });
  },
  async "label-key"({ key, number, leaf }) {
    return { secret: text(await verifyLabelKey(key, { number, leaf: readEpochLeaf(bytes(leaf)) })) };
  },
  async epoch({ leaf, proof, vkey, policy, now }) {
    const said = await verifyEpoch(bytes(leaf), bytes(proof), { vkey, policy, now });
    return {
      epoch: said.epoch,
      period: said.period,
      shards: said.shards.map(({ shard, start, end, rootAtEnd }) => [shard, start, end, text(rootAtEnd)]),
      counts: [said.listed, said.unlisted],
      roots: [said.personsRoot, said.recipientsRoot, said.periodRoot].map(text),
    };
  },
};
async function judge(vector) {
  try {
    return { proves: await judges[vector.kind](vector) };
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
