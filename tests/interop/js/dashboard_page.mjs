// A visit to the dashboard, in headless Chromium: loads are shown, change, and stop where a machine is ignored.
//   node dashboard_page.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script, and requests to any other server, are
// failures too.
import { visit } from "./visit.mjs";

await visit(async ({ url, open, screenshot }) => {
  const page = await open();
  const shown = (name) => page.textContent(`#${name} output`);
  const changes = (name, from) =>
    page.waitForFunction(([name, from]) => document.querySelector(`#${name} output`)?.value !== from, [name, from]);

  await page.goto(url);
  await page.waitForFunction(() => document.querySelector("#status").textContent === "connected");
  for (const name of ["alder", "rowan"]) await changes(name, await shown(name));
  await screenshot(page);
  await page.uncheck("#alder input");
  await changes("rowan", await shown("rowan"));
  if (await shown("alder")) throw new Error("what is ignored is shown");
  await page.check("#alder input");
  await changes("alder", "");
}, { alone: true });
