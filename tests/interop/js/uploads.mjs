// Streams from the client: whole or failed, and never in another call's way.
import assert from "node:assert/strict";
import { Subject } from "@microsoft/signalr";
import { everywhere } from "./registry.mjs";
import { GAP, failed, range, readAll, stillWorks, unexpected, upload, within } from "./session.mjs";

everywhere("the documentation's upload", async (s) => {
  const connection = await s.connect();
  const subject = new Subject();
  const key = s.newKey();
  await connection.send("Drain", key, subject);
  for (const item of range(5)) subject.next(item);
  subject.complete();
  await s.seenBecomes(key, "completed");
});

everywhere("uploads end well", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("Sum", upload(range(100))), 4950);
  assert.equal(await connection.invoke("Sum", upload([])), 0);
  assert.equal(await connection.invoke("Join", "-", upload(["a", "b", "c"])), "a-b-c");
  const many = s.place.transport === "websockets" ? 5000 : 500; // elsewhere each item is a request of its own
  assert.equal(await connection.invoke("Sum", upload(range(many))), (many * (many - 1)) / 2);
});

everywhere("an upload's error reaches the method", async (s) => {
  const connection = await s.connect();
  const key = s.newKey();
  const broken = upload([1, 2], (subject) => subject.error(new Error("it broke")));
  assert.equal(await connection.invoke("Drain", key, broken), "failed: it broke");
  assert.equal(await s.seen(key), "failed: it broke");
  await assert.rejects(connection.invoke("Sum", upload([1], (subject) => subject.error("no more"))), unexpected("Sum", " HubException: no more"));
  await stillWorks(connection);
});

everywhere("an item of the wrong type ends the upload, not the connection", async (s) => {
  const connection = await s.connect();
  assert.match(await connection.invoke("Drain", s.newKey(), upload([1, "two", 3])), /^failed: Failed to bind Stream message\./);
  await stillWorks(connection);
});

everywhere("a disconnect in mid-upload looks like a failure, not an end", async (s) => {
  const connection = await s.connect();
  const key = s.newKey();
  const subject = new Subject();
  await connection.send("Drain", key, subject);
  subject.next(1);
  await stillWorks(connection);
  await connection.stop();
  await s.seenBecomes(key, /^failed/);
});

everywhere("two uploads in one call", async (s) => {
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

everywhere("two uploads in one call, as the client's own mistake sends them", async (s) => {
  const connection = await s.connect();
  await assert.rejects(connection.invoke("SumTwo", upload([1, 2]), upload([3])), failed("SumTwo"));
  await stillWorks(connection);
});

everywhere("a method that leaves its stream early", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("First", upload(range(500))), 0);
  await stillWorks(connection);
}, { beyond: true });

everywhere("a method that never reads its stream holds up no other call", async (s) => {
  const connection = await s.connect("/parallel");
  const key = s.newKey();
  await connection.send("Ignore", key, upload(range(500)));
  await s.seenBecomes(key, "started");
  await stillWorks(connection);
}, { beyond: true });

everywhere("a stream both ways", async (s) => {
  const connection = await s.connect();
  assert.deepEqual(await readAll(connection.stream("Double", upload(range(200)))), range(200).map((i) => 2 * i));
});
