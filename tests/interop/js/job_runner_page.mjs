// A visit to the job runner, in headless Chromium: a job is followed over a reload to its result, another is cancelled.
//   node job_runner_page.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
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
  if (screenshot) await page.screenshot({ path: screenshot });
  await page.click("li:last-child button");
  await sees("The job was cancelled.");
  await sees("a film of 20 frames");
  if (errors.length) throw new Error(errors.join("; "));
  console.log("ok");
} catch (error) {
  console.log(`FAIL ${error.message.replaceAll(/\s*\n\s*/g, " ")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
