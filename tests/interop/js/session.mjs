// One scenario's connections and its view of the server's log; everything it opened is stopped at its end.
// Runs in Node and in a browser alike.
import assert from "node:assert/strict";
import * as signalR from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

// The client overlooks the second of two streams that stand side by side in a call's arguments. With a GAP
// between them it finds both, and the protocol takes the GAP out again before the call is written.
export const GAP = { gap: true };

const withoutGaps = (Protocol) => class extends Protocol {
  writeMessage(message) {
    if (!message.arguments) return super.writeMessage(message);
    return super.writeMessage({ ...message, arguments: message.arguments.filter((one) => one !== GAP) });
  }
};
const protocols = {
  json: withoutGaps(signalR.JsonHubProtocol),
  messagepack: withoutGaps(MessagePackHubProtocol),
};
const transports = {
  websockets: signalR.HttpTransportType.WebSockets,
  sse: signalR.HttpTransportType.ServerSentEvents,
  longpolling: signalR.HttpTransportType.LongPolling,
};

export class Session {
  /**
   * A place is {url, transport, protocol, ask, token, cutter, page}: `ask(url, method)` answers the text at any address,
   * also where a page may not read it; `token`, if any, goes with every connection, and cookies do not; `cutter` is the
   * address of the cutting proxy's control; `page`, in a browser, is the page's relation to the hub, see browser.mjs.
   */
  constructor(place) {
    this.place = place;
    this.url = place.url;
    this.json = place.protocol === "json";
    this.transport = transports[place.transport];
    this.connections = [];
  }

  build(path = "/conformance", options = {}, more = () => {}) {
    const { token } = this.place;
    const builder = new signalR.HubConnectionBuilder()
      .withUrl((options.url ?? this.url) + path, {
        transport: this.transport,
        logger: signalR.NullLogger.instance,
        ...(token && { accessTokenFactory: () => token, withCredentials: false }),
        ...options,
      })
      .withHubProtocol(new protocols[this.place.protocol]())
      .configureLogging(signalR.NullLogger.instance);
    more(builder);
    const connection = builder.build();
    this.connections.push(connection);
    return connection;
  }

  async connect(path, options, more) {
    const connection = this.build(path, options, more);
    await connection.start();
    return connection;
  }

  newKey() {
    return `js-${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
  }

  seen(key) {
    return this.place.ask(`${this.url}/seen?key=${key}`);
  }

  async seenBecomes(key, wanted) {
    const matches = (text) => (wanted instanceof RegExp ? wanted.test(text) : text === wanted);
    let now;
    await until(async () => matches((now = await this.seen(key))), () => `the server's log stayed at '${now}', expected '${wanted}'`);
  }

  /** A gate of the cutting proxy before the server: its address, and what can be done to those who come through. */
  async openGate() {
    const tell = (what) => this.place.ask(`${this.place.cutter}/${what}`, "POST");
    const url = await tell("open");
    const { port } = new URL(url);
    const gate = { url };
    for (const what of ["cut", "silence", "refuse", "heal"]) gate[what] = () => tell(`${what}?port=${port}`);
    return gate;
  }

  async stop() {
    await Promise.allSettled(this.connections.map((one) => one.stop()));
  }
}

export const range = (count) => Array.from({ length: count }, (_, i) => i);
export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
export const unexpected = (method, detail = "") => ({ message: `An unexpected error occurred invoking '${method}' on the server.${detail}` });
export const failed = (method, detail = "") => ({ message: `Failed to invoke '${method}' due to an error on the server.${detail}` });
export const stillWorks = async (connection) => assert.equal(await within(5, connection.invoke("Add", 1, 1)), 2);
export const as = (token) => ({ accessTokenFactory: () => token });

/** All items of a stream; rejects with the stream's error, which then carries the items that came before it. */
export function readAll(stream) {
  const items = [];
  return awaitedLater(new Promise((resolve, reject) => {
    stream.subscribe({
      next: (item) => items.push(item),
      complete: () => resolve(items),
      error: (error) => reject(Object.assign(error, { items })),
    });
  }));
}

/** A Subject that sends the given items, then completes, once the client has subscribed to it. */
export function upload(items, end = (subject) => subject.complete()) {
  const subject = new signalR.Subject();
  setTimeout(() => {
    for (const item of items) subject.next(item);
    end(subject);
  });
  return subject;
}

/** What a handler receives, if it begins with the prefix: `next()` is its next first argument, `upTo(last)` all before it. */
export function inbox(connection, method, prefix = "") {
  const items = [];
  const waiters = [];
  connection.on(method, (item) => {
    if (!item.startsWith(prefix)) return;
    item = item.slice(prefix.length);
    if (waiters.length) waiters.shift()(item);
    else items.push(item);
  });
  const next = () => within(5, items.length ? items.shift() : new Promise((resolve) => waiters.push(resolve)));
  const upTo = async (last) => {
    const got = [];
    for (let item; (item = await next()) !== last;) got.push(item);
    return got.join(" ");
  };
  return { next, upTo };
}

/** Starts a connection to a hub that waits for a second: on a busy machine the first handshake may come too late. */
export async function startInTime(connection, attempts = 10) {
  for (; attempts > 1; attempts--) {
    try {
      return await connection.start();
    } catch (error) {
      if (!String(error).includes("Handshake was canceled")) throw error;
    }
  }
  return connection.start();
}

/** The error that closed the connection, or undefined. */
export function closed(connection) {
  return within(8, new Promise((resolve) => connection.onclose(resolve)));
}

/** Wait until a condition holds, for a while at most; `why` says what is wrong when it does not. */
export async function until(condition, why) {
  const end = Date.now() + PATIENCE * 5000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(why());
    await pause(20);
  }
}

const PATIENCE = 4; // times what an idle machine may take

/** A promise that may be rejected before it is awaited: that counts as unhandled otherwise. */
function awaitedLater(promise) {
  promise.catch(() => {});
  return promise;
}

export function within(atRest, promise) {
  const seconds = PATIENCE * atRest;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${seconds} s`)), seconds * 1000);
  });
  return awaitedLater(Promise.race([promise, late]).finally(() => clearTimeout(timer)));
}
