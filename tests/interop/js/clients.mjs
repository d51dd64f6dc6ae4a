// The server calls its clients: all, some, groups and users of them; and it asks one of them for a result.
import assert from "node:assert/strict";
import { everywhere } from "./registry.mjs";
import { as, inbox, pause, range, stillWorks, within } from "./session.mjs";

/** What each connection is told with `Message`, when it begins with the key. */
const listen = (key, ...connections) => connections.map((one) => inbox(one, "Message", `${key} `));

// ---- it calls

everywhere("send, and on: its caller and everyone", async (s) => {
  const [caller, other] = [await s.connect(), await s.connect()];
  const key = s.newKey();
  const [hello, [message, others]] = [inbox(caller, "Hello"), listen(key, caller, other)];
  await caller.send("CallCaller", "Hello", "you");
  assert.equal(await hello.next(), "you");
  await caller.send("CallAll", `${key} hello`);
  assert.equal(await message.next(), "hello");
  assert.equal(await others.next(), "hello");
  await caller.invoke("CallCaller", "NoSuchMethod", "x");
  await stillWorks(caller);
});

everywhere("on: calls arrive in order", async (s) => {
  const connection = await s.connect();
  const hello = inbox(connection, "Hello");
  for (const i of range(100)) connection.send("CallCaller", "Hello", `${i}`);
  for (const i of range(100)) assert.equal(await hello.next(), `${i}`);
});

everywhere("on: an argument of every kind", async (s) => {
  const connection = await s.connect();
  const got = new Promise((resolve) => connection.on("Everything", (...args) => resolve(args)));
  await connection.invoke("CallWithEverything");
  const [one, two, three, four, five, six, person, bytes, ...rest] = await within(5, got);
  assert.deepEqual([one, two, three, four, five, six, rest], [1, "two", 3.5, true, null, [1, 2], []]);
  assert.deepEqual(s.json ? [person.name, person.age] : [person.Name, person.Age], ["six", 6]);
  assert.deepEqual(bytes, s.json ? "BwgJ" : Uint8Array.from([7, 8, 9]));
});

everywhere("all, others, one, several, all but one", async (s) => {
  const [a, b, c] = [await s.connect(), await s.connect(), await s.connect()];
  const key = s.newKey();
  const inboxes = listen(key, a, b, c);
  await a.invoke("CallAll", `${key} 1`);
  await a.invoke("CallOthers", `${key} 2`);
  await a.invoke("CallConnection", b.connectionId, `${key} 3`);
  await a.invoke("CallConnections", [a.connectionId, b.connectionId], `${key} 4`);
  await a.invoke("CallAllExcept", b.connectionId, `${key} 5`);
  await a.invoke("CallConnection", s.newKey(), `${key} 6`);
  await a.invoke("CallAll", `${key} end`);
  assert.deepEqual(await Promise.all(inboxes.map((one) => one.upTo("end"))), ["1 4 5", "1 2 3 4", "1 2 5"]);
});

everywhere("groups: join, leave, all but one, others, several", async (s) => {
  const [a, b, c] = [await s.connect(), await s.connect(), await s.connect()];
  const [key, g, h] = [s.newKey(), s.newKey(), s.newKey()];
  const inboxes = listen(key, a, b, c);
  await a.invoke("JoinGroup", g);
  await a.invoke("JoinGroup", g);
  await b.invoke("JoinGroup", g);
  await a.invoke("AddConnectionToGroup", c.connectionId, h);
  await c.invoke("CallGroup", g, `${key} 1`);
  await c.invoke("CallGroups", [g, h], `${key} 2`);
  await c.invoke("CallGroupExcept", g, b.connectionId, `${key} 3`);
  await a.invoke("CallOthersInGroup", g, `${key} 4`);
  await b.invoke("LeaveGroup", g);
  await b.invoke("LeaveGroup", g);
  await a.invoke("CallGroup", g, `${key} 5`);
  await a.invoke("CallGroup", s.newKey(), `${key} 6`);
  await a.invoke("CallAll", `${key} end`);
  assert.deepEqual(await Promise.all(inboxes.map((one) => one.upTo("end"))), ["1 2 3 5", "1 2 4", "2"]);
});

everywhere("a group forgets who leaves", async (s) => {
  const [a, b] = [await s.connect(), await s.connect()];
  const [key, group] = [s.newKey(), s.newKey()];
  const [told] = listen(key, b);
  await b.invoke("JoinGroup", group);
  await b.stop();
  await b.start();
  await a.invoke("CallGroup", group, `${key} to the group`);
  await a.invoke("CallConnection", b.connectionId, `${key} end`);
  assert.equal(await told.upTo("end"), "");
});

everywhere("users: every connection of one", async (s) => {
  const [key, ann, bob] = [s.newKey(), s.newKey(), s.newKey()];
  const [a, b, c] = [await s.connect("/auth", as(ann)), await s.connect("/auth", as(ann)), await s.connect("/auth", as(bob))];
  const inboxes = listen(key, a, b, c);
  assert.equal(await a.invoke("UserId"), ann);
  await c.invoke("CallUser", ann, `${key} 1`);
  await c.invoke("CallUser", bob, `${key} 2`);
  await c.invoke("CallUser", s.newKey(), `${key} 3`);
  await c.invoke("CallAll", `${key} end`);
  assert.deepEqual(await Promise.all(inboxes.map((one) => one.upTo("end"))), ["1", "1", "2"]);
});

everywhere("users: no token, no user", async (s) => {
  const connection = await s.connect("/conformance", as(""));
  assert.equal(await connection.invoke("UserId"), null);
  await assert.rejects(connection.invoke("ForUsers"), { message: "Failed to invoke 'ForUsers' because user is unauthorized" });
  await stillWorks(connection);
  assert.equal(await (await s.connect("/conformance", as("ann"))).invoke("ForUsers"), "for users");
});

everywhere("a call from outside any hub", async (s) => {
  const connection = await s.connect();
  const key = s.newKey();
  const [told] = listen(key, connection);
  await s.place.ask(`${s.url}/announce?text=${key}%20news`, "POST");
  assert.equal(await told.next(), "news");
});

// ---- it asks

everywhere("the server asks its caller", async (s) => {
  for (const path of ["/conformance", "/parallel"]) {
    const connection = await s.connect(path);
    connection.on("Answer", (question) => `${question} 42`);
    assert.equal(await connection.invoke("AskCaller", "what?"), "what? 42");
  }
});

everywhere("the server asks its caller, who asks back", async (s) => {
  const connection = await s.connect();
  connection.on("Answer", async (question) => `${question} ${await connection.invoke("Add", 40, 2)}`);
  assert.equal(await connection.invoke("AskCaller", "what?"), "what? 42");
});

everywhere("the server asks another client", async (s) => {
  const [a, b] = [await s.connect(), await s.connect()];
  b.on("Answer", async (question) => {
    await pause(20);
    return `${question} b`;
  });
  assert.equal(await a.invoke("AskConnection", b.connectionId, "who?"), "who? b");
});

everywhere("many questions at once get each its own answer", async (s) => {
  const [a, b] = [await s.connect("/parallel"), await s.connect("/parallel")];
  b.on("Answer", async (question) => {
    await pause(10 * (5 - question));
    return `${question}!`;
  });
  const answers = await Promise.all(range(5).map((i) => a.invoke("AskConnection", b.connectionId, `${i}`)));
  assert.deepEqual(answers, range(5).map((i) => `${i}!`));
});

everywhere("a client without an answer", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("AskCaller", "anyone?"), "error: Client didn't provide a result.");
  connection.on("Answer", () => {});
  assert.equal(await connection.invoke("AskCaller", "what?"), "error: Client didn't provide a result.");
  connection.off("Answer");
  connection.on("Answer", () => {
    throw new Error("no idea");
  });
  assert.equal(await connection.invoke("AskCaller", "what?"), "error: Error: no idea");
  assert.equal(await connection.invoke("AskConnection", "no-such-id", "what?"), "error: Connection 'no-such-id' does not exist.");
  await stillWorks(connection);
});

everywhere("an answer of the wrong kind", async (s) => {
  const connection = await s.connect();
  connection.on("Answer", () => 42);
  assert.match(await connection.invoke("AskCaller", "what?"), /^error: ./);
  await stillWorks(connection);
});

everywhere("asking a client that leaves meanwhile", async (s) => {
  const [a, b] = [await s.connect(), await s.connect()];
  const id = b.connectionId;
  const asked = new Promise((resolve) => b.on("Answer", () => {
    resolve();
    return new Promise(() => {});
  }));
  const answer = a.invoke("AskConnection", id, "still there?");
  await within(5, asked);
  await b.stop();
  assert.equal(await within(5, answer), `error: Connection '${id}' disconnected.`);
});

everywhere("giving up on an answer", async (s) => {
  const connection = await s.connect();
  let answer;
  connection.on("Answer", () => new Promise((resolve) => (answer = resolve)));
  assert.equal(await connection.invoke("AskWithTimeout", 200), "timed out");
  answer("too late");
  await stillWorks(connection);
  await stillWorks(connection);
});
