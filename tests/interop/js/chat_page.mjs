// Two people in the chat's page, in headless Chromium: both log in and join a room, one says something, the other sees it.
//   node chat_page.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script, and requests to any other server, are
// failures too.
import { chromium } from "playwright-core";

const [executablePath, url, screenshot] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const errors = [];

async function enter(name, password) {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("request", (request) => request.url().startsWith(url) || errors.push(request.url()));
  await page.goto(url);
  await sees(page, "log in first");
  for (const [given, answer] of [["a guess", "The name or the password is wrong."], [password, "connected"]]) {
    await page.fill("#name", name);
    await page.fill("#password", given);
    await page.click("#login button");
    await sees(page, answer);
  }
  await page.fill("#room", "trio");
  await page.click("#join button");
  await sees(page, `${name} is here`);
  return page;
}

async function sees(page, text) {
  await page.waitForFunction((text) => document.querySelector("#log").textContent.includes(text), text);
}

try {
  const ann = await enter("ann", "wonderland");
  const bob = await enter("bob", "can we fix it");
  await bob.fill("#text", "hello");
  await bob.click("#say button");
  await sees(ann, "bob: hello");
  if (screenshot) await ann.screenshot({ path: screenshot });
  await bob.close();
  await sees(ann, "bob has left");
  await ann.reload();
  await sees(ann, "connected");
  await ann.click("#logout");
  await sees(ann, "You have logged out.");
  await ann.reload();
  await sees(ann, "log in first");
  if (errors.length) throw new Error(errors.join("; "));
  console.log("ok");
} catch (error) {
  console.log(`FAIL ${error.message.replaceAll(/\s*\n\s*/g, " ")}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
