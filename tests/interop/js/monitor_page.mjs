// A visit to a monitor's page, in headless Chromium: refused without a token, then live; it says that the server is lost,
// and comes back.
//   node monitor_page.mjs BROWSER CONTROL [SCREENSHOT.png]      where CONTROL is that of a cutting proxy before the app
// Prints 'ok', or 'FAIL why' with exit status 1. Errors of the page's own script, and what its policy forbids, are
// failures too.
import { visit } from "./visit.mjs";

const TOKEN = "the-admins-token";

await visit(async ({ url: control, open, screenshot, errors }) => {
  const ask = async (path) => (await fetch(`${control}${path}`, { method: "POST" })).text();
  const gate = await ask("/open");
  const order = (command) => ask(`/${command}?port=${new URL(gate).port}`);
  const page = await open();
  page.on("console", (message) => message.text().includes("Security Policy") && errors.push(message.text()));
  const says = (text) =>
    page.waitForFunction((text) => document.querySelector("#status").textContent.includes(text), text);
  const cell = (method, column) =>
    page.evaluate(([method, column]) => {
      const row = [...document.querySelectorAll("#methods tbody tr")].find((row) => row.cells[1].textContent === method);
      return row?.cells[column].textContent ?? "";
    }, [method, column]);
  const until = async (what, holds) => {
    for (const end = Date.now() + 60_000; !(await holds()); await page.waitForTimeout(50))
      if (Date.now() > end) throw new Error(`never ${what}`);
  };

  const { status } = await fetch(`${gate}/monitor`);
  if (status !== 401) throw new Error(`without a token the page said ${status}`);

  await page.goto(`${gate}/monitor?access_token=${TOKEN}`);
  await says("live");
  await until("a rate of calls", async () => parseFloat(await cell("Say", 2)) > 0);
  const before = [await cell("Say", 2), await cell("Count", 5)];
  await until("other numbers", async () => (await cell("Say", 2)) !== before[0] && (await cell("Count", 5)) !== before[1]);
  await until("an error", async () => parseInt(await cell("Fail", 6)) > 0);
  const groups = await page.textContent("#groups");
  if (!groups.includes("<img src=x onerror=alert(1)>·[31m·[bold]")) throw new Error(`the groups are ${groups}`);
  if (await page.$("main img")) throw new Error("a name has become an element");
  await screenshot(page);

  await order("refuse");
  await says("not connected, trying again · as of ");
  await page.waitForTimeout(2_500); // in which it tries
  await says("not connected, trying again · as of ");
  await order("heal");
  await says("live");
  const then = await cell("Count", 5);
  await until("numbers that move again", async () => (await cell("Count", 5)) !== then);

  await page.context().addCookies([{ name: "token", value: TOKEN, url: gate }]); // who has logged in needs no token
  await page.goto(`${gate}/monitor`);
  await says("live");
  await page.context().clearCookies();
  await order("cut");
  await says("you may not see this, or no longer: log in again");
});
