/* Reads vectors as JSON from the standard input and prints what the modules say of them. */
import { readFileSync } from "node:fs";
import { judgeAll } from "./run.mjs";

console.log(await judgeAll(readFileSync(0, "utf8")));
