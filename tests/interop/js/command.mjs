// What the two commands, scenarios.mjs and browser.mjs, have in common.
//   --only NAME          run this scenario; repeatable
//   --official           leave out what the official server itself fails
//   --client PACKAGE     an older client, under its name in package.json: run the scenarios for those, and no others
//   --cutter ADDRESS     the control of a cutting proxy: run the scenarios that go through it, and no others
import { parseArgs } from "node:util";

const { values, positionals: given } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string", multiple: true, default: [] },
    official: { type: "boolean", default: false },
    client: { type: "string" },
    cutter: { type: "string" },
  },
});

export const positionals = given;
export const options = { only: values.only, beyond: !values.official, client: values.client, cutter: values.cutter };
export const chapters = values.client ? ["older"] : values.cutter ? ["reconnect"] : ["streams", "uploads", "calls", "clients", "life"];

export const ask = async (address, method = "GET") => (await fetch(address, { method })).text();

// The client lets the failures of its sends run free: those that a connection's end leaves unsent tell of nothing.
const unsent = /Cannot send|Connection stopped|not in the OPEN state|Status code '404'/;
export const harmless = (rejection) => unsent.test(String(rejection));
