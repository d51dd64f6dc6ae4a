// A person's visit to pages in headless Chromium, for the scripts that are started so:
//   node SCRIPT.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// They print 'ok', or 'FAIL why' with exit status 1. Errors of the pages' own scripts are failures too.
import { chromium } from "playwright-core";

export const launch = (executablePath) =>
  chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });

/**
 * Go through a visit, which is called with the URL, with what opens a page that has its own cookies, with what takes the
 * screenshot that may be asked for, and with a list to add errors to. With `alone`, a request to another server is one.
 */
export async function visit(steps, { alone = false } = {}) {
  const [executablePath, url, path] = process.argv.slice(2);
  const browser = await launch(executablePath);
  const errors = [];
  const open = async () => {
    const page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => errors.push(error.message));
    if (alone) page.on("request", (request) => request.url().startsWith(url) || errors.push(request.url()));
    return page;
  };
  const screenshot = (page) => path && page.screenshot({ path });
  try {
    await steps({ url, open, screenshot, errors });
    if (errors.length) throw new Error(errors.join("; "));
    console.log("ok");
  } catch (error) {
    console.log(`FAIL ${error.message.replaceAll(/\s*\n\s*/g, " ")}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
