// A person's visit to the example with a login, in headless Chromium: refused, let in, heard, and gone.
//   node board.mjs BROWSER URL [SCREENSHOT.png]      where BROWSER is Chromium's executable
// Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script are failures too.
import { visit } from "./visit.mjs";

await visit(async ({ url, open, screenshot }) => {
  const page = await open();
  const says = (id, text) =>
    page.waitForFunction(([id, text]) => document.querySelector(id).textContent.includes(text), [id, text]);
  const logIn = async (password) => {
    await page.fill("#name", "ann");
    await page.fill("#password", password);
    await page.click("#login button");
  };

  await page.goto(url);
  await logIn("a guess");
  await says("#status", "The name or the password is wrong.");
  await logIn("wonderland");
  await says("#status", "Here for 1 s");
  await page.fill("#text", "hello");
  await page.click("#write button");
  await says("#lines", "ann: hello");
  if (await page.isVisible("#login")) throw new Error("who has logged in is asked to log in");
  await screenshot(page);
  await page.click("#logout");
  await says("#status", "You have logged out.");
  const refused = await page.evaluate(async () => (await fetch("/hubs/board/negotiate", { method: "POST" })).status);
  if (refused !== 401) throw new Error(`without a login the hub said ${refused}`);
});
