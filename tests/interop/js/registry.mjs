// Every scenario, with where it makes sense, and the one way to run them.
// The functions that register a scenario say where it runs; test files find the names by these functions.
import { Session, within } from "./session.mjs";

const all = [];
const where = (suits) => (name, run, { beyond = false } = {}) => all.push({ name, run, suits, beyond });

export const everywhere = where(() => true);
export const overWebSockets = where((place) => place.transport === "websockets");
export const overLongPolling = where((place) => place.transport === "longpolling");
export const notOverWebSockets = where((place) => place.transport !== "websockets");
export const notOverLongPolling = where((place) => place.transport !== "longpolling");
export const inNode = where((place) => !place.page);
export const inBrowser = where((place) => ["same-origin", "credentials"].includes(place.page));
export const onTokenPage = where((place) => place.page === "token");
export const onForeignPage = where((place) => place.page === "foreign");

/**
 * Runs the scenarios that suit a place and tells of each 'ok NAME' or 'FAIL NAME: why'; answers whether all were ok.
 *
 * A place is where a session works: {url, transport, protocol, ask} and perhaps {token, cutter, page}; see Session.
 * `only`, when not empty, has the names to run; `beyond` is false where the official server is asked, which fails those;
 * `atOnce` scenarios run at a time.
 */
export async function runAll(place, tell, { only = [], beyond = true, atOnce = 1 } = {}) {
  const waiting = all.filter((one) => one.suits(place) && (beyond || !one.beyond) && (!only.length || only.includes(one.name)));
  let good = true;
  const work = async () => {
    for (let one; (one = waiting.shift());) {
      const session = new Session(place);
      try {
        await within(30, one.run(session));
        tell(`ok ${one.name}`);
      } catch (error) {
        good = false;
        const why = [error?.message ?? error, error?.cause].filter(Boolean).join(": ");
        tell(`FAIL ${one.name}: ${why.replaceAll(/\s*\n\s*/g, " ")}`);
      }
      await within(5, session.stop()).catch(() => {});
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return good;
}
