// A connection that is cut off: with automatic reconnect a new one takes its place; with stateful reconnect it is
// the same one, to which nothing gets lost and nothing happens twice. All go through gates of the cutting proxy.
import assert from "node:assert/strict";
import { Subject } from "@microsoft/signalr";
import { everywhere, notOverLongPolling, overWebSockets } from "./registry.mjs";
import { closed, inbox, range, readAll, startInTime, stillWorks, until, upload, within } from "./session.mjs";

const again = { nextRetryDelayInMilliseconds: () => 50 };

/** What a connection tells of its reconnecting: each of these resolves with what the event says. */
const events = (connection) => ({
  lost: within(20, new Promise((resolve) => connection.onreconnecting(resolve))),
  back: within(20, new Promise((resolve) => connection.onreconnected(resolve))),
});

// ---- automatic reconnect

everywhere("a cut connection reconnects by itself, as a new one", async (s) => {
  const gate = await s.openGate();
  const connection = await s.connect("/detailed", { url: gate.url }, (builder) => builder.withAutomaticReconnect(again));
  const hello = inbox(connection, "Hello");
  const { lost, back } = events(connection);
  const first = connection.connectionId;
  const running = readAll(connection.stream("Silent", s.newKey()));
  await gate.refuse();
  await lost;
  assert.equal(connection.state, "Reconnecting");
  await assert.rejects(within(5, running), Error);
  await assert.rejects(connection.invoke("Add", 1, 1), /Cannot send data if the connection is not in the 'Connected' State/);
  await gate.heal();
  const second = await back;
  assert.notEqual(second, first);
  assert.equal(second, connection.connectionId);
  assert.equal(await connection.invoke("ConnectionId"), second);
  await connection.invoke("CallCaller", "Hello", "again");
  assert.equal(await hello.next(), "again");
});

everywhere("groups are left by a connection that is cut, and joined anew", async (s) => {
  const gate = await s.openGate();
  const other = await s.connect();
  const connection = await s.connect("/conformance", { url: gate.url }, (builder) => builder.withAutomaticReconnect(again));
  const [key, group] = [s.newKey(), s.newKey()];
  const told = inbox(connection, "Message", `${key} `);
  const { lost, back } = events(connection);
  await connection.invoke("JoinGroup", group);
  await gate.refuse();
  await lost;
  await gate.heal();
  await back;
  await other.invoke("CallGroup", group, `${key} too early`);
  await connection.invoke("JoinGroup", group);
  await other.invoke("CallGroup", group, `${key} end`);
  assert.equal(await told.upTo("end"), "");
});

everywhere("a connection that does not come back closes", async (s) => {
  const gate = await s.openGate();
  const connection = await s.connect("/conformance", { url: gate.url }, (builder) => builder.withAutomaticReconnect([0, 20]));
  const end = closed(connection);
  await gate.refuse();
  assert.equal(await end, undefined);
  assert.equal(connection.state, "Disconnected");
});

everywhere("without automatic reconnect a cut connection closes", async (s) => {
  const gate = await s.openGate();
  const connection = await s.connect("/conformance", { url: gate.url });
  const end = closed(connection);
  await gate.refuse();
  await end;
  assert.equal(connection.state, "Disconnected");
  await gate.heal();
  await connection.start();
  await stillWorks(connection);
});

notOverLongPolling("the hub hears of a cut at once", async (s) => {
  const gate = await s.openGate();
  const [life, method] = [s.newKey(), s.newKey()];
  const connection = await s.connect(`/detailed?log=${life}`, { url: gate.url });
  connection.stream("Silent", method).subscribe({ next() {}, complete() {}, error() {} });
  await s.seenBecomes(method, "started");
  await gate.refuse();
  await s.seenBecomes(method, "started,cancelled");
  await s.seenBecomes(life, "connected,disconnected");
});

notOverLongPolling("a connection gone silent is noticed on both sides", async (s) => {
  const gate = await s.openGate();
  const key = s.newKey();
  const connection = s.build(`/impatient?log=${key}`, { url: gate.url });
  [connection.keepAliveIntervalInMilliseconds, connection.serverTimeoutInMilliseconds] = [200, 2000];
  const end = closed(connection);
  await startInTime(connection);
  await stillWorks(connection);
  await gate.silence();
  assert.equal((await end).message, "Server timeout elapsed without receiving a message from the server.");
  await s.seenBecomes(key, "connected,disconnected with error");
});

// ---- stateful reconnect

/** A connection with stateful reconnect through a gate of its own, and whether it ever noticed being cut. */
async function stateful(s, path = "/conformance") {
  const gate = await s.openGate();
  const connection = await s.connect(path, { url: gate.url }, (builder) => builder.withStatefulReconnect().withAutomaticReconnect(again));
  const noticed = [];
  connection.onreconnecting((error) => noticed.push(`reconnecting: ${error}`));
  connection.onclose((error) => noticed.push(`closed: ${error}`));
  return { gate, connection, noticed };
}

overWebSockets("stateful: a stream over three cuts loses and doubles nothing", async (s) => {
  const { gate, connection, noticed } = await stateful(s);
  const id = connection.connectionId;
  const got = [];
  await within(25, new Promise((complete, error) => {
    connection.stream("Counter", 2000, 1).subscribe({
      next: (item) => {
        got.push(item);
        if ([400, 900, 1500].includes(item)) gate.cut().catch(error);
      },
      complete,
      error,
    });
  }));
  assert.deepEqual(got, range(2000));
  assert.deepEqual(noticed, []);
  assert.equal(connection.connectionId, id);
  assert.equal(await connection.invoke("ConnectionId"), id);
});

// The client tries to resume once: no cut may come before it is back from the one before.
overWebSockets("stateful: calls made over three cuts arrive once and in order", async (s) => {
  const { gate, connection, noticed } = await stateful(s);
  const hello = inbox(connection, "Hello");
  for (const cut of range(3)) {
    const sent = range(100).map((i) => connection.send("CallCaller", "Hello", `${cut} ${i}`));
    await gate.cut();
    sent.push(...range(100).map((i) => connection.send("CallCaller", "Hello", `${cut} ${100 + i}`)));
    await within(5, Promise.all(sent));
    await within(5, connection.invoke("CallCaller", "Hello", "end"));
    assert.equal(await hello.upTo("end"), range(200).map((i) => `${cut} ${i}`).join(" "));
  }
  assert.deepEqual(noticed, []);
});

overWebSockets("stateful: an upload goes on over three cuts", async (s) => {
  const { gate, connection, noticed } = await stateful(s);
  const subject = new Subject();
  const answer = connection.invoke("Join", " ", subject);
  for (const cut of range(3)) {
    for (const i of range(50)) subject.next(`${100 * cut + i}`);
    await gate.cut();
    for (const i of range(50)) subject.next(`${100 * cut + 50 + i}`);
    await stillWorks(connection); // it is back, then
  }
  subject.complete();
  assert.equal(await within(10, answer), range(300).join(" "));
  assert.deepEqual(noticed, []);
});

overWebSockets("stateful: an upload and a stream both ways, over a cut", async (s) => {
  const { gate, connection, noticed } = await stateful(s);
  const got = [];
  const subject = new Subject();
  const done = new Promise((complete, error) => {
    connection.stream("Double", subject).subscribe({ next: (item) => got.push(item), complete, error });
  });
  for (const i of range(100)) {
    subject.next(i);
    if (i % 30 === 29) {
      await until(() => got.length > i, () => `only ${got.length} items came back`);
      await gate.cut();
    }
  }
  subject.complete();
  await within(10, done);
  assert.deepEqual(got, range(100).map((i) => 2 * i));
  assert.deepEqual(noticed, []);
});

overWebSockets("stateful: more items than the buffers hold, over a cut", async (s) => {
  const { gate, connection, noticed } = await stateful(s);
  const sizes = [];
  await within(25, new Promise((complete, error) => {
    connection.stream("Blobs", 30, 10_000).subscribe({
      next: (item) => {
        if (sizes.push(item.length) === 5) gate.cut().catch(error);
      },
      complete,
      error,
    });
  }));
  assert.deepEqual(sizes, Array(30).fill(10_000));
  assert.deepEqual(noticed, []);
});

// The official server waits with the answers for an acknowledgement, which it cannot read while calls wait for each other.
overWebSockets("stateful: more answers than the buffers hold, over a cut", async (s) => {
  const { gate, connection, noticed } = await stateful(s);
  const texts = range(30).map((i) => `${i}`.padEnd(10_000, "x"));
  const echoes = texts.map((text) => connection.invoke("Echo", text));
  await gate.cut();
  assert.deepEqual(await within(20, Promise.all(echoes)), texts);
  assert.deepEqual(noticed, []);
}, { beyond: true });

overWebSockets("stateful: a call under way is answered over a cut, and asked clients answer", async (s) => {
  const { gate, connection, noticed } = await stateful(s, "/conformance");
  const answer = connection.invoke("Delay", "here", 300);
  await gate.cut();
  assert.equal(await within(5, answer), "here");
  connection.on("Answer", async (question) => {
    await gate.cut();
    return `${question} 42`;
  });
  assert.equal(await within(5, connection.invoke("AskCaller", "what?")), "what? 42");
  assert.deepEqual(noticed, []);
});

overWebSockets("stateful: groups stay, and calls while cut arrive", async (s) => {
  const { gate, connection, noticed } = await stateful(s);
  const other = await s.connect();
  const [key, group] = [s.newKey(), s.newKey()];
  const told = inbox(connection, "Message", `${key} `);
  await connection.invoke("JoinGroup", group);
  for (const i of range(3)) {
    await gate.cut();
    await other.invoke("CallGroup", group, `${key} group ${i}`);
    await other.invoke("CallConnection", connection.connectionId, `${key} me ${i}`);
    await other.invoke("CallAll", `${key} all ${i}`);
    assert.equal(await told.upTo(`all ${i}`), `group ${i} me ${i}`);
  }
  assert.deepEqual(noticed, []);
});

overWebSockets("stateful: the hub hears nothing of a cut, and of the end at once", async (s) => {
  const key = s.newKey();
  const { gate, connection } = await stateful(s, `/conformance?log=${key}`);
  await gate.cut();
  await stillWorks(connection);
  assert.equal(await s.seen(key), "connected");
  await connection.stop();
  await within(5, s.seenBecomes(key, "connected,disconnected"));
});

overWebSockets("stateful: dispose reaches the method over a cut", async (s) => {
  const { gate, connection } = await stateful(s);
  const key = s.newKey();
  const subscription = connection.stream("Forever", key).subscribe({ next() {}, complete() {}, error() {} });
  await s.seenBecomes(key, "started");
  await gate.cut();
  subscription.dispose();
  await s.seenBecomes(key, "started,cancelled");
  await stillWorks(connection);
});

overWebSockets("stateful: a connection aborted by the hub is over", async (s) => {
  const { connection } = await stateful(s);
  const end = closed(connection);
  await connection.send("Abort");
  assert.equal(await end, undefined);
  assert.equal(connection.state, "Disconnected");
});

overWebSockets("stateful: what cannot be resumed starts anew", async (s) => {
  const { gate, connection } = await stateful(s);
  const { lost, back } = events(connection);
  const first = connection.connectionId;
  await gate.refuse();
  await lost;
  await gate.heal();
  assert.notEqual(await back, first);
  assert.equal(await connection.invoke("ConnectionId"), connection.connectionId);
  const sum = connection.invoke("Sum", upload(range(10)));
  await gate.cut();
  assert.equal(await within(5, sum), 45);
});

overWebSockets("stateful: a hub that does not offer it serves all the same", async (s) => {
  const connection = await s.connect("/detailed", {}, (builder) => builder.withStatefulReconnect());
  await stillWorks(connection);
});
