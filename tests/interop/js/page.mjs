// A person's look at a demo page, in headless Chromium: start a stream, see items, cancel it.
//   node page.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// The page has the buttons #start and #cancel, a list #items whose <li> are the items, and #status, which comes to
// say 'cancelled'; perhaps a field #count, of how many items to ask for. Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script are failures too.
import { visit } from "./visit.mjs";

await visit(async ({ url, open, screenshot, errors }) => {
  const page = await open();
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(url);
  if (await page.$("#count")) await page.fill("#count", "1000"); // it must not end before it is cancelled
  await page.click("#start");
  await page.waitForFunction(() => document.querySelectorAll("#items > li").length >= 3);
  await screenshot(page);
  await page.click("#cancel");
  await page.waitForFunction(() => document.querySelector("#status").textContent.toLowerCase().includes("cancelled"));
});
