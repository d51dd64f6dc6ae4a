// The official JavaScript client, run through every scenario against a server that has the conformance hubs.
//   node scenarios.mjs URL json|messagepack [--only TEXT] [--official]      or      node scenarios.mjs --list
// --official leaves out what the official server itself fails. Prints 'ok NAME' or 'FAIL NAME: why' for each
// scenario; the exit status is 1 when one failed.
import assert from "node:assert/strict";
import { Subject } from "@microsoft/signalr";
import { GAP, Session, closed, inbox, readAll, upload, within } from "./session.mjs";

const all = [];
const scenario = (name, run, { beyond = false } = {}) => all.push({ name, run, beyond });
const range = (count) => Array.from({ length: count }, (_, i) => i);
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const unexpected = (method, detail = "") => ({ message: `An unexpected error occurred invoking '${method}' on the server.${detail}` });
const failed = (method, detail = "") => ({ message: `Failed to invoke '${method}' due to an error on the server.${detail}` });
const stillWorks = async (connection) => assert.equal(await within(5, connection.invoke("Add", 1, 1)), 2);

// ---- the documentation's streams

scenario("the documentation's stream", async (s) => {
  const connection = await s.connect("/counter");
  const got = [];
  await new Promise((resolve, reject) => {
    connection.stream("Counter", 10, 500).subscribe({
      next: (item) => got.push(item),
      complete: () => resolve(),
      error: (err) => reject(err),
    });
  });
  assert.deepEqual(got, range(10));
});

scenario("dispose cancels the method", async (s) => {
  const connection = await s.connect();
  for (const method of ["Forever", "Silent"]) {
    const key = s.newKey();
    const subscription = connection.stream(method, key).subscribe({ next() {}, complete() {}, error() {} });
    await s.seenBecomes(key, "started");
    subscription.dispose();
    await s.seenBecomes(key, "started,cancelled");
  }
  await stillWorks(connection);
});

scenario("dispose in the middle of the items", async (s) => {
  const connection = await s.connect();
  const key = s.newKey();
  const got = [];
  await within(5, new Promise((resolve, reject) => {
    const subscription = connection.stream("Forever", key).subscribe({
      next: (item) => {
        if (got.push(item) < 3) return;
        subscription.dispose();
        resolve();
      },
      complete: reject,
      error: reject,
    });
  }));
  await s.seenBecomes(key, "started,cancelled");
  assert.deepEqual(got, [0, 1, 2]);
});

// ---- streams from the server

scenario("every way to write a streaming method", async (s) => {
  const connection = await s.connect();
  for (const method of ["Counter", "CounterChannel", "CounterChannelAsync"]) {
    assert.deepEqual(await readAll(connection.stream(method, 100, 0)), range(100));
  }
});

scenario("an empty stream completes", async (s) => {
  assert.deepEqual(await readAll((await s.connect()).stream("Counter", 0, 0)), []);
});

scenario("20000 items arrive in order", async (s) => {
  assert.deepEqual(await readAll((await s.connect()).stream("CounterChannel", 20_000, 0)), range(20_000));
});

scenario("an item arrives when it is written, not when the next one is", async (s) => {
  const connection = await s.connect();
  const at = [];
  await new Promise((complete, error) => {
    connection.stream("Counter", 4, 250).subscribe({ next: () => at.push(Date.now()), complete, error });
  });
  assert.equal(at.length, 4);
  assert.ok(at[1] - at[0] > 150 && at[3] - at[0] > 600, `arrived at ${at.map((one) => one - at[0])} ms`);
});

scenario("large items", async (s) => {
  const items = await readAll((await s.connect()).stream("Blobs", 10, 200_000));
  assert.deepEqual(items.map((one) => one.length), Array(10).fill(200_000));
});

scenario("objects as items", async (s) => {
  const people = await readAll((await s.connect()).stream("People", 3));
  const seen = people.map((one) => (s.json ? [one.name, one.favourite] : [one.Name, one.Favourite]));
  assert.deepEqual(seen, range(3).map((i) => [`person ${i}`, s.json ? 1 : "Green"]));
});

scenario("a stream's failure arrives after its items", async (s) => {
  const connection = await s.connect();
  const base = "An error occurred on the server while streaming results.";
  for (const [hubException, message] of [[true, `${base} HubException: stream failed`], [false, base]]) {
    await assert.rejects(readAll(connection.stream("FailAfter", 3, hubException)), (error) => {
      assert.equal(error.message, message);
      assert.deepEqual(error.items, [0, 1, 2]);
      return true;
    });
  }
  await stillWorks(connection);
});

scenario("no reader, or an error instead of one", async (s) => {
  const connection = await s.connect();
  await assert.rejects(readAll(connection.stream("NullReader")), /^Error: The value returned by the streaming method '\w+' is not a ChannelReader<> or IAsyncEnumerable<>\.$/);
  await assert.rejects(readAll(connection.stream("ThrowBeforeReader")), unexpected("ThrowBeforeReader", " HubException: no reader"));
  await stillWorks(connection);
});

scenario("a stream of an unknown method, or with wrong arguments", async (s) => {
  const connection = await s.connect();
  await assert.rejects(readAll(connection.stream("Nope")), failed("Nope", " HubException: Method does not exist."));
  await assert.rejects(readAll(connection.stream("Counter", "many", "slow")), failed("Counter"));
  await assert.rejects(readAll(connection.stream("Counter", 1)), failed("Counter"));
  await stillWorks(connection);
});

scenario("a stream of a plain method, and an invocation of a streaming one", async (s) => {
  const connection = await s.connect();
  await assert.rejects(readAll(connection.stream("Add", 1, 2)), {
    message: "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation.",
  });
  await assert.rejects(connection.invoke("Counter", 1, 0), {
    message: "The client attempted to invoke the streaming 'Counter' method with a non-streaming invocation.",
  });
  await stillWorks(connection);
});

scenario("a running stream holds up neither invocations nor other streams", async (s) => {
  const connection = await s.connect();
  let items = 0;
  const running = connection.stream("Forever", s.newKey()).subscribe({ next: () => items++, complete() {}, error() {} });
  await stillWorks(connection);
  const both = await Promise.all([readAll(connection.stream("Counter", 50, 2)), readAll(connection.stream("CounterChannel", 50, 2))]);
  assert.deepEqual(both, [range(50), range(50)]);
  assert.ok(items > 5, `the running stream gave only ${items} items`);
  running.dispose();
});

scenario("a stream that nobody reads holds up nothing", async (s) => {
  const connection = await s.connect();
  connection.stream("Blobs", 50, 10_000);
  connection.stream("Forever", s.newKey());
  await stillWorks(connection);
  await pause(100);
  await stillWorks(connection);
});

scenario("a disconnect cancels the method", async (s) => {
  for (const method of ["Forever", "Silent"]) {
    const connection = await s.connect();
    const key = s.newKey();
    connection.stream(method, key).subscribe({ next() {}, complete() {}, error() {} });
    await s.seenBecomes(key, "started");
    await connection.stop();
    await s.seenBecomes(key, "started,cancelled");
  }
});

// ---- streams from the client

scenario("the documentation's upload", async (s) => {
  const connection = await s.connect();
  const subject = new Subject();
  const key = s.newKey();
  await connection.send("Drain", key, subject);
  for (const item of range(5)) subject.next(item);
  subject.complete();
  await s.seenBecomes(key, "completed");
});

scenario("uploads end well", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("Sum", upload(range(100))), 4950);
  assert.equal(await connection.invoke("Sum", upload([])), 0);
  assert.equal(await connection.invoke("Join", "-", upload(["a", "b", "c"])), "a-b-c");
  assert.equal(await connection.invoke("Sum", upload(range(5000))), 12497500);
});

scenario("an upload's error reaches the method", async (s) => {
  const connection = await s.connect();
  const key = s.newKey();
  const broken = upload([1, 2], (subject) => subject.error(new Error("it broke")));
  assert.equal(await connection.invoke("Drain", key, broken), "failed: it broke");
  assert.equal(await s.seen(key), "failed: it broke");
  await assert.rejects(connection.invoke("Sum", upload([1], (subject) => subject.error("no more"))), unexpected("Sum", " HubException: no more"));
  await stillWorks(connection);
});

scenario("an item of the wrong type ends the upload, not the connection", async (s) => {
  const connection = await s.connect();
  assert.match(await connection.invoke("Drain", s.newKey(), upload([1, "two", 3])), /^failed: Failed to bind Stream message\./);
  await stillWorks(connection);
});

scenario("a disconnect in mid-upload looks like a failure, not an end", async (s) => {
  const connection = await s.connect();
  const key = s.newKey();
  const subject = new Subject();
  await connection.send("Drain", key, subject);
  subject.next(1);
  await stillWorks(connection);
  await connection.stop();
  await s.seenBecomes(key, /^failed/);
});

scenario("two uploads in one call", async (s) => {
  const connection = await s.connect();
  const [first, second] = [new Subject(), new Subject()];
  const answer = connection.invoke("SumTwo", first, GAP, second);
  for (const i of [1, 2, 3]) {
    first.next(i);
    second.next(10 * i);
  }
  first.complete();
  second.complete();
  assert.equal(await within(5, answer), 6060);
  await stillWorks(connection);
});

scenario("two uploads in one call, as the client's own mistake sends them", async (s) => {
  const connection = await s.connect();
  await assert.rejects(connection.invoke("SumTwo", upload([1, 2]), upload([3])), failed("SumTwo"));
  await stillWorks(connection);
});

scenario("a method that leaves its stream early", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("First", upload(range(500))), 0);
  await stillWorks(connection);
}, { beyond: true });

scenario("a method that never reads its stream holds up no other call", async (s) => {
  const connection = await s.connect("/parallel");
  const key = s.newKey();
  await connection.send("Ignore", key, upload(range(500)));
  await s.seenBecomes(key, "started");
  await stillWorks(connection);
}, { beyond: true });

scenario("a stream both ways", async (s) => {
  const connection = await s.connect();
  assert.deepEqual(await readAll(connection.stream("Double", upload(range(200)))), range(200).map((i) => 2 * i));
});

// ---- calls

scenario("invoke: a result, null, nothing", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("Add", 40, 2), 42);
  assert.equal(await connection.invoke("GetNull"), null);
  assert.equal(await connection.invoke("DoNothing"), null);
});

scenario("text survives: unicode, controls, record separator", async (s) => {
  const connection = await s.connect();
  for (const text of ["", "\u001e", "a\u001eb", "\0\u0001\u007f", "żółć", "日本語", "👩‍🚀", "\"\\/\b\f\n\r\t", "x".repeat(20_000)]) {
    assert.equal(await connection.invoke("Echo", text), text);
  }
});

scenario("method names: any letter case, and renamed", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("aDD", 1, 2), 3);
  assert.equal(await connection.invoke("renamed"), "renamed");
  await assert.rejects(connection.invoke("OriginalName"), failed("OriginalName", " HubException: Method does not exist."));
});

scenario("a hundred outstanding invocations", async (s) => {
  const connection = await s.connect();
  assert.deepEqual(await Promise.all(range(100).map((i) => connection.invoke("Add", i, i))), range(100).map((i) => 2 * i));
});

scenario("errors: a HubException's text, and no other's", async (s) => {
  const connection = await s.connect();
  await assert.rejects(connection.invoke("ThrowHubException", "mine"), unexpected("ThrowHubException", " HubException: mine"));
  await assert.rejects(connection.invoke("ThrowOther"), unexpected("ThrowOther"));
  await assert.rejects((await s.connect("/detailed")).invoke("ThrowOther"), /An unexpected error occurred invoking 'ThrowOther' on the server\. .*secret/);
  await stillWorks(connection);
});

scenario("errors: unknown methods and wrong arguments", async (s) => {
  const connection = await s.connect();
  await assert.rejects(connection.invoke("Nope"), failed("Nope", " HubException: Method does not exist."));
  await connection.send("Nope");
  for (const args of [[1], [1, 2, 3], ["one", [2]]]) {
    await assert.rejects(connection.invoke("Add", ...args), failed("Add"));
  }
  await stillWorks(connection);
});

scenario("payloads of every kind come back the same", async (s) => {
  const connection = await s.connect();
  const bytes = Uint8Array.from([0, 1, 127, 128, 250, 255]);
  const id = "0f8fad5b-d9cb-469f-a165-70867728950e";
  const born = "1815-12-10T00:00:00Z";
  const person = {
    name: "Ada", age: 36, born: s.json ? born : new Date(born), id, tags: ["x", "y"],
    favourite: s.json ? 1 : "Green", avatar: s.json ? "AQL6" : Uint8Array.from([1, 2, 250]),
    balance: s.json ? 12.5 : "12.5", nickname: null, parent: null,
  };
  const named = (one) => (s.json ? one : Object.fromEntries(Object.entries(one).map(([key, value]) => [key[0].toUpperCase() + key.slice(1), value])));
  const payloads = [
    ["EchoBytes", s.json ? Buffer.from(bytes).toString("base64") : bytes],
    ["EchoDateTime", s.json ? "2026-11-22T12:34:56.789123Z" : new Date("2026-11-22T12:34:56.789Z")],
    ["EchoGuid", id],
    ["EchoDecimal", s.json ? 0.125 : "0.125"],
    ["EchoLong", Number.MAX_SAFE_INTEGER],
    ["EchoDouble", -1e300],
    ["EchoDouble", 7],
    ["EchoBool", true],
    ["EchoColor", s.json ? 2 : "Blue"],
    ["EchoMap", { a: 1, "B c": 2 }],
    ["EchoNested", [[1, 2], [], [3]]],
    ["EchoNullable", null],
    ["EchoPerson", named({ ...person, parent: named({ ...person, name: "Anne" }) })],
  ];
  for (const [method, value] of payloads) assert.deepEqual(await connection.invoke(method, value), value, method);
});

// ---- the server calls clients

scenario("send, and on: its caller and everyone", async (s) => {
  const [caller, other] = [await s.connect(), await s.connect()];
  const [hello, message, others] = [inbox(caller, "Hello"), inbox(caller, "Message"), inbox(other, "Message")];
  await caller.send("CallCaller", "Hello", "you");
  assert.equal(await hello.next(), "you");
  const key = s.newKey();
  await caller.send("CallAll", key);
  assert.equal(await message.next(), key);
  assert.equal(await others.next(), key);
  await caller.invoke("CallCaller", "NoSuchMethod", "x");
  await stillWorks(caller);
});

scenario("on: calls arrive in order", async (s) => {
  const connection = await s.connect();
  const hello = inbox(connection, "Hello");
  for (const i of range(100)) connection.send("CallCaller", "Hello", `${i}`);
  for (const i of range(100)) assert.equal(await hello.next(), `${i}`);
});

scenario("on: an argument of every kind", async (s) => {
  const connection = await s.connect();
  const got = new Promise((resolve) => connection.on("Everything", (...args) => resolve(args)));
  await connection.invoke("CallWithEverything");
  const [one, two, three, four, five, six, person, bytes, ...rest] = await within(5, got);
  assert.deepEqual([one, two, three, four, five, six, rest], [1, "two", 3.5, true, null, [1, 2], []]);
  assert.deepEqual(s.json ? [person.name, person.age] : [person.Name, person.Age], ["six", 6]);
  assert.deepEqual(bytes, s.json ? "BwgJ" : Uint8Array.from([7, 8, 9]));
});

// ---- the life of a connection

scenario("connected and disconnected are told once each", async (s) => {
  const key = s.newKey();
  const connection = await s.connect(`/conformance?log=${key}`);
  await connection.invoke("DoNothing");
  assert.equal(await s.seen(key), "connected");
  await connection.stop();
  await s.seenBecomes(key, "connected,disconnected");
});

scenario("the connection's id is the same on both sides", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("ConnectionId"), connection.connectionId);
});

scenario("query and headers reach the hub", async (s) => {
  const connection = await s.connect("/conformance?room=blue%20one", { headers: { "X-Test": "yes" } });
  assert.equal(await connection.invoke("QueryValue", "room"), "blue one");
  assert.equal(await connection.invoke("HeaderValue", "X-Test"), "yes");
  assert.equal(await connection.invoke("QueryValue", "nothing"), null);
});

scenario("without negotiation", async (s) => {
  await stillWorks(await s.connect("/conformance", { skipNegotiation: true }));
});

scenario("a hub that offers WebSockets only", async (s) => {
  await stillWorks(await s.connect("/websockets-only"));
});

scenario("no hub there", async (s) => {
  await assert.rejects(s.connect("/nothing-here"), /404/);
});

scenario("a connection refused by the hub", async (s) => {
  const connection = s.build("/conformance?refuse=1");
  const end = closed(connection);
  end.catch(() => {}); // the refusal may already end start(): then the connection never was open, and never closes
  const error = await connection.start().then(() => end, (refusal) => refusal);
  assert.match(String(error), /Server returned an error on close: Connection closed with an error\. HubException: refused/);
});

scenario("a connection aborted by the hub", async (s) => {
  const connection = await s.connect();
  const end = closed(connection);
  const running = readAll(connection.stream("Forever", s.newKey()));
  await connection.send("Abort");
  await assert.rejects(within(5, running), /Invocation canceled due to the underlying connection being closed/);
  assert.equal(await end, undefined);
  assert.equal(connection.state, "Disconnected");
});

scenario("a message above the limit closes the connection with an error", async (s) => {
  const connection = await s.connect();
  const end = closed(connection);
  await assert.rejects(within(5, connection.invoke("Echo", "x".repeat(40_000))));
  assert.ok((await end) instanceof Error);
  await stillWorks(await s.connect());
});

scenario("stop and start again", async (s) => {
  const connection = await s.connect();
  const first = connection.connectionId;
  await connection.stop();
  await connection.start();
  await stillWorks(connection);
  assert.notEqual(connection.connectionId, first);
});

// ---- the run

const args = process.argv.slice(2);
if (args.includes("--list")) {
  for (const { name, beyond } of all) console.log(name + (beyond ? " (beyond the official server)" : ""));
  process.exit(0);
}
const [url, protocol] = args;
const only = args.includes("--only") ? args[args.indexOf("--only") + 1] : "";
let failures = 0;
for (const { name, run, beyond } of all) {
  if (!name.includes(only) || (beyond && args.includes("--official"))) continue;
  const session = new Session(url, protocol);
  try {
    await within(20, run(session));
    console.log(`ok ${name}`);
  } catch (error) {
    failures++;
    console.log(`FAIL ${name}: ${String(error.message ?? error).replaceAll(/\s*\n\s*/g, " ")}`);
  }
  await within(5, session.stop()).catch(() => {});
}
process.exit(failures ? 1 : 0);
