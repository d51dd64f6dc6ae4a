// Two people in the chat's page, in headless Chromium: both log in and join a room, one says something, the other sees it.
//   node chat_page.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script, and requests to any other server, are
// failures too.
import { visit } from "./visit.mjs";

async function enter(page, url, name, password) {
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

await visit(async ({ url, open, screenshot }) => {
  const ann = await enter(await open(), url, "ann", "wonderland");
  const bob = await enter(await open(), url, "bob", "can we fix it");
  await bob.fill("#text", "hello");
  await bob.click("#say button");
  await sees(ann, "bob: hello");
  await screenshot(ann);
  await bob.close();
  await sees(ann, "bob has left");
  await ann.reload();
  await sees(ann, "connected");
  await ann.click("#logout");
  await sees(ann, "You have logged out.");
  await ann.reload();
  await sees(ann, "log in first");
}, { alone: true });
