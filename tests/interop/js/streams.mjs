// Streams from the server: every item once and in order, and whoever leaves a stream ends its method.
import assert from "node:assert/strict";
import { everywhere } from "./registry.mjs";
import { failed, pause, range, readAll, stillWorks, unexpected, within } from "./session.mjs";

// ---- the documentation's streams

everywhere("the documentation's stream", async (s) => {
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

everywhere("dispose cancels the method", async (s) => {
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

everywhere("dispose in the middle of the items", async (s) => {
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

everywhere("every way to write a streaming method", async (s) => {
  const connection = await s.connect();
  for (const method of ["Counter", "CounterChannel", "CounterChannelAsync"]) {
    assert.deepEqual(await readAll(connection.stream(method, 100, 0)), range(100));
  }
});

everywhere("an empty stream completes", async (s) => {
  assert.deepEqual(await readAll((await s.connect()).stream("Counter", 0, 0)), []);
});

everywhere("20000 items arrive in order", async (s) => {
  assert.deepEqual(await readAll((await s.connect()).stream("CounterChannel", 20_000, 0)), range(20_000));
});

everywhere("an item arrives when it is written, not when the next one is", async (s) => {
  const connection = await s.connect();
  const at = [];
  await new Promise((complete, error) => {
    connection.stream("Counter", 2, 4000).subscribe({ next: () => at.push(Date.now()), complete, error });
  });
  assert.equal(at.length, 2);
  assert.ok(at[1] - at[0] > 1000, `the second came ${at[1] - at[0]} ms after the first`);
});

everywhere("large items", async (s) => {
  const items = await readAll((await s.connect()).stream("Blobs", 10, 200_000));
  assert.deepEqual(items.map((one) => one.length), Array(10).fill(200_000));
});

everywhere("objects as items", async (s) => {
  const people = await readAll((await s.connect()).stream("People", 3));
  const seen = people.map((one) => (s.json ? [one.name, one.favourite] : [one.Name, one.Favourite]));
  assert.deepEqual(seen, range(3).map((i) => [`person ${i}`, s.json ? 1 : "Green"]));
});

everywhere("a stream's failure arrives after its items", async (s) => {
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

everywhere("no reader, or an error instead of one", async (s) => {
  const connection = await s.connect();
  await assert.rejects(readAll(connection.stream("NullReader")), /^Error: The value returned by the streaming method '\w+' is not a ChannelReader<> or IAsyncEnumerable<>\.$/);
  await assert.rejects(readAll(connection.stream("ThrowBeforeReader")), unexpected("ThrowBeforeReader", " HubException: no reader"));
  await stillWorks(connection);
});

everywhere("a stream of an unknown method, or with wrong arguments", async (s) => {
  const connection = await s.connect();
  await assert.rejects(readAll(connection.stream("Nope")), failed("Nope", " HubException: Method does not exist."));
  await assert.rejects(readAll(connection.stream("Counter", "many", "slow")), failed("Counter"));
  await assert.rejects(readAll(connection.stream("Counter", 1)), failed("Counter"));
  await stillWorks(connection);
});

everywhere("a stream of a plain method, and an invocation of a streaming one", async (s) => {
  const connection = await s.connect();
  await assert.rejects(readAll(connection.stream("Add", 1, 2)), {
    message: "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation.",
  });
  await assert.rejects(connection.invoke("Counter", 1, 0), {
    message: "The client attempted to invoke the streaming 'Counter' method with a non-streaming invocation.",
  });
  await stillWorks(connection);
});

everywhere("a running stream holds up neither invocations nor other streams", async (s) => {
  const connection = await s.connect();
  let items = 0;
  const running = connection.stream("Forever", s.newKey()).subscribe({ next: () => items++, complete() {}, error() {} });
  await stillWorks(connection);
  const both = await Promise.all([readAll(connection.stream("Counter", 50, 2)), readAll(connection.stream("CounterChannel", 50, 2))]);
  assert.deepEqual(both, [range(50), range(50)]);
  assert.ok(items > 5, `the running stream gave only ${items} items`);
  running.dispose();
});

everywhere("a stream that nobody reads holds up nothing", async (s) => {
  const connection = await s.connect();
  connection.stream("Blobs", 50, 10_000);
  connection.stream("Forever", s.newKey());
  await stillWorks(connection);
  await pause(100);
  await stillWorks(connection);
});

everywhere("a disconnect cancels the method", async (s) => {
  for (const method of ["Forever", "Silent"]) {
    const connection = await s.connect();
    const key = s.newKey();
    connection.stream(method, key).subscribe({ next() {}, complete() {}, error() {} });
    await s.seenBecomes(key, "started");
    await connection.stop();
    await s.seenBecomes(key, "started,cancelled");
  }
});
