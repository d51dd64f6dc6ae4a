// One scenario's connections and its view of the server's log; everything it opened is stopped at its end.
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

let keys = 0;

export class Session {
  constructor(url, protocol) {
    this.url = url;
    this.protocol = protocol;
    this.json = protocol === "json";
    this.connections = [];
  }

  build(path = "/conformance", options = {}) {
    const connection = new signalR.HubConnectionBuilder()
      .withUrl(this.url + path, { transport: signalR.HttpTransportType.WebSockets, logger: signalR.NullLogger.instance, ...options })
      .withHubProtocol(new protocols[this.protocol]())
      .configureLogging(signalR.NullLogger.instance)
      .build();
    this.connections.push(connection);
    return connection;
  }

  async connect(path, options) {
    const connection = this.build(path, options);
    await connection.start();
    return connection;
  }

  newKey() {
    return `js-${process.pid}-${keys++}`;
  }

  async seen(key) {
    return (await fetch(`${this.url}/seen?key=${key}`)).text();
  }

  async seenBecomes(key, wanted) {
    const matches = (text) => (wanted instanceof RegExp ? wanted.test(text) : text === wanted);
    const end = Date.now() + 5000;
    let now;
    while (!matches((now = await this.seen(key)))) {
      if (Date.now() > end) throw new Error(`the server's log stayed at '${now}', expected '${wanted}'`);
      await new Promise((done) => setTimeout(done, 20));
    }
    return now;
  }

  async stop() {
    await Promise.allSettled(this.connections.map((one) => one.stop()));
  }
}

/** All items of a stream; rejects with the stream's error, which then carries the items that came before it. */
export function readAll(stream) {
  const items = [];
  return new Promise((resolve, reject) => {
    stream.subscribe({
      next: (item) => items.push(item),
      complete: () => resolve(items),
      error: (error) => reject(Object.assign(error, { items })),
    });
  });
}

/** A Subject that sends the given items, then completes, once the client has subscribed to it. */
export function upload(items, end = (subject) => subject.complete()) {
  const subject = new signalR.Subject();
  setImmediate(() => {
    for (const item of items) subject.next(item);
    end(subject);
  });
  return subject;
}

/** What a handler receives: `next()` is its next first argument. */
export function inbox(connection, method) {
  const items = [];
  const waiters = [];
  connection.on(method, (item) => (waiters.length ? waiters.shift()(item) : items.push(item)));
  return { next: () => within(5, items.length ? items.shift() : new Promise((resolve) => waiters.push(resolve))) };
}

/** The error that closed the connection, or undefined. */
export function closed(connection) {
  return within(8, new Promise((resolve) => connection.onclose(resolve)));
}

export function within(seconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
