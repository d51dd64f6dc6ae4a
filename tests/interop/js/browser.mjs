// The official JavaScript client in headless Chromium, run through the scenarios against a server with the conformance hubs.
//   node browser.mjs BROWSER URL PAGES PAGE [--only NAME]... [--official] [--cutter ADDRESS]
// BROWSER is Chromium's executable, URL the server, PAGES the address of a pages.mjs. PAGE says where the page is from:
//   same-origin    from the server itself
//   credentials    from PAGES, with cookies
//   token          from PAGES, with a token
//   foreign        from PAGES, which the server does not allow: only that it is kept out
// Runs over every transport and protocol, each in a page of its own. Prints 'ok TRANSPORT/PROTOCOL NAME' or
// 'FAIL TRANSPORT/PROTOCOL NAME: why'; the exit status is 1 when one failed. Options: see command.mjs.
import { ask, chapters, harmless, options, positionals } from "./command.mjs";
import { launch } from "./visit.mjs";

const [executablePath, url, pages, page] = positionals;
const pairs = ["websockets/json", "websockets/messagepack", "sse/json", "longpolling/json", "longpolling/messagepack"];
const scripts = [
  "node_modules/@microsoft/signalr/dist/browser/signalr.js",
  "node_modules/@microsoft/signalr-protocol-msgpack/dist/browser/signalr-protocol-msgpack.js",
];
const imports = {
  "@microsoft/signalr": `${pages}/official.mjs`,
  "@microsoft/signalr-protocol-msgpack": `${pages}/official.mjs`,
  "node:assert/strict": `${pages}/assert.mjs`,
};
let modules = chapters;
if (page === "foreign") modules = ["origins"];
else if (!options.cutter) modules = [...chapters, "origins"];

const browser = await launch(executablePath);

async function run(pair) {
  const [transport, protocol] = pair.split("/");
  const context = await browser.newContext();
  const tab = await context.newPage();
  const tell = (line) => console.log(line.replace(" ", ` ${pair} `));
  tab.on("pageerror", (error) => harmless(error) || tell(`FAIL unhandled: ${error}`));
  await tab.goto(page === "same-origin" ? `${url}/seen?key=none` : pages);
  await tab.exposeFunction("tell", tell);
  await tab.exposeFunction("ask", ask);
  await tab.evaluate((text) => {
    document.head.append(Object.assign(document.createElement("script"), { type: "importmap", textContent: text }));
  }, JSON.stringify({ imports }));
  for (const script of scripts) await tab.addScriptTag({ url: `${pages}/${script}` });
  const place = { url, transport, protocol, page, cutter: options.cutter, token: page === "token" ? "ann" : undefined };
  // A browser has six connections to a server, and all but WebSockets count: one scenario at a time for the others.
  const how = { ...options, atOnce: transport === "websockets" ? 4 : 1 };
  const good = await tab.evaluate(async ([from, names, where, settings]) => {
    for (const name of names) await import(`${from}/${name}.mjs`);
    const { runAll } = await import(`${from}/registry.mjs`);
    return runAll({ ...where, ask: window.ask }, window.tell, settings);
  }, [pages, modules, place, how]);
  await context.close();
  return good;
}

try {
  const verdicts = await Promise.all(pairs.map(run));
  process.exitCode = verdicts.every(Boolean) ? 0 : 1;
} finally {
  await browser.close();
}
