// Of node:assert/strict what the scenarios use, for a browser.
const show = (value) => (value instanceof Error ? String(value) : JSON.stringify(value) ?? String(value));
const check = (good, message) => {
  if (!good) throw new Error(message);
};

function same(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Date) return a.getTime() === b.getTime();
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

function fits(error, wanted) {
  if (wanted instanceof RegExp) return wanted.test(String(error));
  if (typeof wanted === "object") return Object.entries(wanted).every(([key, value]) => same(error[key], value));
  if (wanted === Error || wanted?.prototype instanceof Error) return error instanceof wanted;
  return wanted === undefined || wanted(error) === true;
}

export default {
  ok: (value, message = `${show(value)} is not true`) => check(value, message),
  equal: (got, wanted) => check(Object.is(got, wanted), `got ${show(got)}, expected ${show(wanted)}`),
  notEqual: (got, other) => check(!Object.is(got, other), `got ${show(got)}, and should not`),
  deepEqual: (got, wanted, message = "") => check(same(got, wanted), `${message} got ${show(got)}, expected ${show(wanted)}`),
  match: (got, wanted) => check(wanted.test(got), `got ${show(got)}, expected ${wanted}`),
  async rejects(promise, wanted) {
    const error = await promise.then(() => check(false, "was not rejected"), (refusal) => refusal ?? new Error("undefined"));
    check(fits(error, wanted), `rejected with ${show(error)}, expected ${wanted instanceof RegExp ? wanted : show(wanted)}`);
  },
};
