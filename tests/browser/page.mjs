/* What the page of the tests runs: the modules are loaded as a portal loads them. */
import { judgeAll } from "./run.mjs";
import { verifyOpening } from "./verify.mjs";

/** Verify the same opening so many times; return the milliseconds, and what it proved the last time. */
async function time(file, options, times) {
  const begun = performance.now();
  let proves;
  for (let done = 0; done < times; done++) proves = await verifyOpening(file, options);
  return [performance.now() - begun, proves];
}
Object.assign(globalThis, { judgeAll, time, verifyOpening });
