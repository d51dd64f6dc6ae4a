// A visit to the page of docs/presence.md, in headless Chromium: its title has who is there, whatever happens at once.
//   node presence_page.mjs BROWSER URL      where BROWSER is Chromium's executable
// Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script, and requests to any other server, are
// failures too.
import { visit } from "./visit.mjs";

await visit(async ({ url, open }) => {
  const come = async (name) => {
    const page = await open();
    await page.goto(`${url}/?name=${name}`);
    return page;
  };
  const ann = await come("ann");
  const seen = (title) => ann.waitForFunction((title) => document.title === title, title);
  await seen("ann");
  for (let round = 0; round < 5; round++) {
    const devices = await Promise.all([come("bob"), come("bob")]);
    await seen("ann, bob");
    await Promise.all(devices.map((page) => page.reload()));
    await seen("ann, bob");
    await Promise.all(devices.map((page) => page.close()));
    await seen("ann");
  }
}, { alone: true });
