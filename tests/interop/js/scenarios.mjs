// The official JavaScript client in Node, run through every scenario against a server that has the conformance hubs.
//   node scenarios.mjs URL websockets|sse|longpolling json|messagepack [--only NAME]... [--official] [--client PACKAGE] [--cutter ADDRESS]
// Prints 'ok NAME' or 'FAIL NAME: why' for each scenario; the exit status is 1 when one failed. Options: see command.mjs.
import { ask, chapters, harmless, options, positionals } from "./command.mjs";
import { runAll } from "./registry.mjs";

process.on("unhandledRejection", (reason) => harmless(reason) || console.log(`FAIL unhandled: ${reason}`));

const [url, transport, protocol] = positionals;
for (const chapter of chapters) await import(`./${chapter}.mjs`);
process.noDeprecation = true; // for what older clients use of Node
const client = options.client && (await import(options.client));
const place = { url, transport, protocol, ask, client, cutter: options.cutter };
const good = await runAll(place, console.log, { ...options, atOnce: 8 });
process.exit(good ? 0 : 1);
