// A visit to the dashboard, in headless Chromium: loads are shown, change, and stop where a machine is ignored.
//   node dashboard_page.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script, and requests to any other server, are
// failures too.
import { chromium } from "playwright-core";

const [executablePath, url, screenshot] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("request", (request) => request.url().startsWith(url) || errors.push(request.url()));
  const shown = (name) => page.textContent(`#${name} output`);
  const changes = (name, from) =>
    page.waitForFunction(([name, from]) => document.querySelector(`#${name} output`)?.value !== from, [name, from]);

  await page.goto(url);
  await page.waitForFunction(() => document.querySelector("#status").textContent === "connected");
  for (const name of ["alder", "rowan"]) await changes(name, await shown(name));
  if (screenshot) await page.screenshot({ path: screenshot });
  await page.uncheck("#alder input");
  await changes("rowan", await shown("rowan"));
  if (await shown("alder")) throw new Error("what is ignored is shown");
  await page.check("#alder input");
  await changes("alder", "");
  if (errors.length) throw new Error(errors.join("; "));
  console.log("ok");
} catch (error) {
  console.log(`FAIL ${error.message.replaceAll(/\s*\n\s*/g, " ")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
