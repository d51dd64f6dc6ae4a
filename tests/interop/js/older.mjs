// The clients of ASP.NET Core 2.2 and 3.1, which are still about. That of 2.2 posts each message on a socket of its own, and
// all at once; heads come before bodies. `place.client` is the client's module.
import assert from "node:assert/strict";
import { everywhere } from "./registry.mjs";
import { failed, inbox, range, readAll, within } from "./session.mjs";

const connect = async (s) => {
  const { HttpTransportType, HubConnectionBuilder, LogLevel } = s.place.client;
  const transport = { websockets: HttpTransportType.WebSockets, sse: HttpTransportType.ServerSentEvents, longpolling: HttpTransportType.LongPolling };
  const connection = new HubConnectionBuilder()
    .withUrl(`${s.url}/conformance`, { transport: transport[s.place.transport], logger: LogLevel.None })
    .configureLogging(LogLevel.None)
    .build();
  s.connections.push(connection);
  await connection.start();
  return connection;
};

everywhere("an older client calls, streams and is called", async (s) => {
  const connection = await connect(s);
  const hello = inbox(connection, "Hello");
  assert.equal(await connection.invoke("Add", 40, 2), 42);
  assert.equal(await connection.invoke("Echo", "x".repeat(20_000)), "x".repeat(20_000));
  assert.deepEqual(await readAll(connection.stream("Counter", 20, 0)), range(20));
  await connection.send("CallCaller", "Hello", "you");
  assert.equal(await hello.next(), "you");
  await assert.rejects(connection.invoke("Nope"), failed("Nope", " HubException: Method does not exist."));
  const closed = within(8, new Promise((resolve) => connection.onclose(resolve)));
  await connection.stop();
  assert.equal(await closed, undefined);
});

everywhere("an older client sends two messages in a row, which keep their order", async (s) => {
  const connection = await connect(s);
  const hello = inbox(connection, "Hello");
  for (const i of range(20)) {
    await Promise.all([connection.send("CallCaller", "Hello", `${i} first`), connection.send("CallCaller", "Hello", `${i} second`)]);
    assert.deepEqual([await hello.next(), await hello.next()], [`${i} first`, `${i} second`]);
  }
});

everywhere("an older client sends a hundred messages at once, and all arrive in their order", async (s) => {
  const connection = await connect(s);
  const hello = inbox(connection, "Hello");
  for (const round of range(3)) {
    const texts = range(100).map((i) => `${round}.${i}${"x".repeat((i % 7) * 300)}`);
    await Promise.all(texts.map((text) => connection.send("CallCaller", "Hello", text)));
    const got = [];
    for (const _ of texts) got.push(await hello.next());
    assert.deepEqual(got, texts);
  }
});

everywhere("an older client makes a hundred calls at once, and all are answered", async (s) => {
  const connection = await connect(s);
  assert.deepEqual(await Promise.all(range(100).map((i) => connection.invoke("Add", i, i))), range(100).map((i) => 2 * i));
});
