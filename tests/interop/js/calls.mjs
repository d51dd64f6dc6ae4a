// Plain calls: what goes in, what comes out, and whose error texts are told.
import assert from "node:assert/strict";
import { everywhere } from "./registry.mjs";
import { failed, range, stillWorks, unexpected } from "./session.mjs";

everywhere("invoke: a result, null, nothing", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("Add", 40, 2), 42);
  assert.equal(await connection.invoke("GetNull"), null);
  assert.equal(await connection.invoke("DoNothing"), null);
});

everywhere("text survives: unicode, controls, record separator", async (s) => {
  const connection = await s.connect();
  for (const text of ["", "\u001e", "a\u001eb", "\0\u0001\u007f", "żółć", "日本語", "👩‍🚀", "\"\\/\b\f\n\r\t", "x".repeat(20_000)]) {
    assert.equal(await connection.invoke("Echo", text), text);
  }
});

everywhere("method names: any letter case, and renamed", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("aDD", 1, 2), 3);
  assert.equal(await connection.invoke("renamed"), "renamed");
  await assert.rejects(connection.invoke("OriginalName"), failed("OriginalName", " HubException: Method does not exist."));
});

everywhere("a hundred outstanding invocations", async (s) => {
  const connection = await s.connect();
  assert.deepEqual(await Promise.all(range(100).map((i) => connection.invoke("Add", i, i))), range(100).map((i) => 2 * i));
});

everywhere("errors: a HubException's text, and no other's", async (s) => {
  const connection = await s.connect();
  await assert.rejects(connection.invoke("ThrowHubException", "mine"), unexpected("ThrowHubException", " HubException: mine"));
  await assert.rejects(connection.invoke("ThrowOther"), unexpected("ThrowOther"));
  await assert.rejects((await s.connect("/detailed")).invoke("ThrowOther"), /An unexpected error occurred invoking 'ThrowOther' on the server\. .*secret/);
  await stillWorks(connection);
});

everywhere("errors: unknown methods and wrong arguments", async (s) => {
  const connection = await s.connect();
  await assert.rejects(connection.invoke("Nope"), failed("Nope", " HubException: Method does not exist."));
  await connection.send("Nope");
  for (const args of [[1], [1, 2, 3], ["one", [2]]]) {
    await assert.rejects(connection.invoke("Add", ...args), failed("Add"));
  }
  await stillWorks(connection);
});

everywhere("payloads of every kind come back the same", async (s) => {
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
    ["EchoBytes", s.json ? btoa(String.fromCharCode(...bytes)) : bytes],
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

everywhere("one invocation at a time by default, more when allowed", async (s) => {
  const order = async (path) => {
    const [connection, ended] = [await s.connect(path), []];
    const call = (text, milliseconds) => connection.invoke("Delay", text, milliseconds).then((end) => ended.push(end));
    await Promise.all([call("long", 1000), call("short", 1)]);
    return ended;
  };
  assert.deepEqual(await order("/conformance"), ["long", "short"]);
  assert.deepEqual(await order("/parallel"), ["short", "long"]);
});
