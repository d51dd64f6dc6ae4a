// A visit to the job runner, in headless Chromium: a job is followed over a reload to its result, another is cancelled.
//   node job_runner_page.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script, and requests to any other server, are
// failures too.
import { visit } from "./visit.mjs";

await visit(async ({ url, open, screenshot }) => {
  const page = await open();
  const sees = (text) =>
    page.waitForFunction((text) => document.querySelector("body").textContent.includes(text), text);
  const render = async (frames) => {
    await page.fill("#frames", frames);
    await page.click("#start button");
  };

  await page.goto(url);
  await sees("connected");
  await render("20");
  await sees("25 %");
  await page.reload();
  await sees("50 %");
  await render("1000");
  await sees("1 %");
  await screenshot(page);
  await page.click("li:last-child button");
  await sees("The job was cancelled.");
  await sees("a film of 20 frames");
}, { alone: true });
