// A person's look at a demo page, in headless Chromium: start a stream, see items, cancel it.
//   node page.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// The page has the buttons #start and #cancel, a list #items whose <li> are the items, and #status, which comes to
// say 'cancelled'; perhaps a field #count, of how many items to ask for. Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script are failures too.
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
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(url);
  if (await page.$("#count")) await page.fill("#count", "1000"); // it must not end before it is cancelled
  await page.click("#start");
  await page.waitForFunction(() => document.querySelectorAll("#items > li").length >= 3);
  if (screenshot) await page.screenshot({ path: screenshot });
  await page.click("#cancel");
  await page.waitForFunction(() => document.querySelector("#status").textContent.toLowerCase().includes("cancelled"));
  if (errors.length) throw new Error(errors.join("; "));
  console.log("ok");
} catch (error) {
  console.log(`FAIL ${error.message.replaceAll(/\s*\n\s*/g, " ")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
