// A visit to the tutorial's page, in headless Chromium: every city is shown, and changes.
//   node weather_page.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script, and requests to any other server, are
// failures too.
import { visit } from "./visit.mjs";

await visit(async ({ url, open, screenshot }) => {
  const page = await open();
  const shown = () => page.textContent("#degrees");
  await page.goto(url);
  await page.waitForFunction(() => /Oslo[^]*Rome/.test(document.querySelector("#degrees").textContent));
  const before = await shown();
  await page.waitForFunction((before) => document.querySelector("#degrees").textContent !== before, before);
  await screenshot(page);
}, { alone: true });
