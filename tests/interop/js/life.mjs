// The life of a connection: how it begins, who may have it, and how each side hears of its end.
import assert from "node:assert/strict";
import { DefaultHttpClient, HttpTransportType, NullLogger } from "@microsoft/signalr";
import { everywhere, inNode, notOverLongPolling, notOverWebSockets, overLongPolling, overWebSockets } from "./registry.mjs";
import { as, closed, pause, range, readAll, startInTime, stillWorks, within } from "./session.mjs";

everywhere("connected and disconnected are told once each", async (s) => {
  const key = s.newKey();
  const connection = await s.connect(`/conformance?log=${key}`);
  await connection.invoke("DoNothing");
  assert.equal(await s.seen(key), "connected");
  await connection.stop();
  await s.seenBecomes(key, "connected,disconnected");
});

everywhere("the connection's id is the same on both sides", async (s) => {
  const connection = await s.connect();
  assert.equal(await connection.invoke("ConnectionId"), connection.connectionId);
});

inNode("query and headers reach the hub", async (s) => {
  const connection = await s.connect("/conformance?room=blue%20one", { headers: { "X-Test": "yes" } });
  assert.equal(await connection.invoke("QueryValue", "room"), "blue one");
  assert.equal(await connection.invoke("HeaderValue", "X-Test"), "yes");
  assert.equal(await connection.invoke("QueryValue", "nothing"), null);
});

everywhere("the query reaches the hub", async (s) => {
  const connection = await s.connect("/conformance?room=blue%20one");
  assert.equal(await connection.invoke("QueryValue", "room"), "blue one");
  assert.equal(await connection.invoke("QueryValue", "nothing"), null);
});

// ---- how it begins

overWebSockets("without negotiation", async (s) => {
  const connection = await s.connect("/conformance", { skipNegotiation: true });
  await stillWorks(connection);
  assert.equal(connection.connectionId, null);
});

overWebSockets("a hub that offers this transport only", async (s) => {
  await stillWorks(await s.connect("/websockets-only"));
});

overLongPolling("a hub that offers polling only", async (s) => {
  await stillWorks(await s.connect("/polling-only"));
});

notOverWebSockets("a hub that does not offer the transport", async (s) => {
  await assert.rejects(s.connect("/websockets-only"), /WebSockets failed: Error: 'WebSockets' is disabled by the client\.$/);
});

overWebSockets("a hub that offers polling only refuses a WebSocket", async (s) => {
  await assert.rejects(s.connect("/polling-only", { skipNegotiation: true }), /WebSocket failed to connect/);
});

overLongPolling("falling back to a transport that the hub offers", async (s) => {
  const transport = HttpTransportType.WebSockets | HttpTransportType.LongPolling;
  await stillWorks(await s.connect("/polling-only", { transport }));
});

notOverWebSockets("falling back from a WebSocket that does not open", async (s) => {
  class Unopened {
    constructor() {
      setTimeout(() => this.onclose({}));
    }
  }
  const connection = await s.connect("/conformance", { transport: HttpTransportType.WebSockets | s.transport, WebSocket: Unopened });
  assert.equal(await connection.invoke("ConnectionId"), connection.connectionId);
});

everywhere("many clients at once", async (s) => {
  const many = s.place.page ? 3 : 30; // a browser opens six connections at most
  const sums = await Promise.all(range(many).map(async () => {
    const items = await readAll((await s.connect()).stream("CounterChannel", 100, 0));
    return items.reduce((a, b) => a + b);
  }));
  assert.deepEqual(sums, Array(many).fill(4950));
});

everywhere("no hub there", async (s) => {
  // A page of another origin may not read what says so, unless a hub there allows it.
  const readable = !["credentials", "token"].includes(s.place.page);
  await assert.rejects(s.connect("/nothing-here"), readable ? /404/ : /Failed to complete negotiation/);
});

everywhere("a connection refused by the hub", async (s) => {
  const connection = s.build("/conformance?refuse=1");
  const end = closed(connection);
  // The refusal may already end start(): then the connection never was open, and never closes.
  // Over HTTP the client's first ping may come after the refusal, and is what fails then; or the refusal comes while that
  // ping is under way, and the client tells nobody of its end: but its calls fail.
  const deaf = () => pause(2000).then(() => connection.invoke("Add", 1, 1)).catch((refusal) => refusal);
  const overHttp = s.place.transport !== "websockets";
  const error = await connection.start().then(() => Promise.race(overHttp ? [end, deaf()] : [end]), (refusal) => refusal);
  if (overHttp && /Status code '404'|[Cc]annot send/.test(error)) return;
  assert.match(String(error), /Server returned an error on close: Connection closed with an error\. HubException: refused/);
});

everywhere("a connection aborted by the hub", async (s) => {
  const connection = await s.connect();
  const end = closed(connection);
  const running = within(5, readAll(connection.stream("Forever", s.newKey())));
  await connection.send("Abort"); // over HTTP the stream may end before this does
  await assert.rejects(running, /Invocation canceled due to the underlying connection being closed/);
  assert.equal(await end, undefined);
  assert.equal(connection.state, "Disconnected");
});

/** A connection that would come back by itself, and what it has told of coming back. */
async function returning(s) {
  const connection = await s.connect("/conformance", {}, (builder) => builder.withAutomaticReconnect([0, 20, 20]));
  const told = [];
  connection.onreconnecting((error) => told.push(`reconnecting: ${error}`));
  connection.onreconnected(() => told.push("reconnected"));
  return { connection, told };
}

everywhere("an aborted connection hears the reason, and does not come back", async (s) => {
  const { connection, told } = await returning(s);
  const end = closed(connection);
  const running = within(5, readAll(connection.stream("Forever", s.newKey())));
  const reason = "Banned: \u{1F6AB} \"for a day\".";
  await connection.send("AbortWith", reason);
  const why = `Server returned an error on close: ${reason}`;
  assert.equal((await end).message, why);
  await assert.rejects(running, { message: why });
  assert.equal(connection.state, "Disconnected");
  await pause(200);
  assert.deepEqual(told, []);
}, { beyond: true });

everywhere("a connection that may come back does", async (s) => {
  const { connection, told } = await returning(s);
  const first = connection.connectionId;
  const back = within(5, new Promise((resolve) => connection.onreconnected(resolve)));
  await connection.send("SendAway");
  assert.notEqual(await back, first);
  assert.equal(told.at(-1), "reconnected");
  await stillWorks(connection);
}, { beyond: true });

everywhere("a message above the limit closes the connection with an error", async (s) => {
  const connection = await s.connect();
  const end = closed(connection);
  await assert.rejects(within(5, connection.invoke("Echo", "x".repeat(40_000))));
  assert.ok((await end) instanceof Error);
  await stillWorks(await s.connect());
});

everywhere("stop and start again", async (s) => {
  const connection = await s.connect();
  const first = connection.connectionId;
  await connection.stop();
  await connection.start();
  await stillWorks(connection);
  assert.notEqual(connection.connectionId, first);
});

overLongPolling("stop() deletes the connection, and the hub hears of it at once", async (s) => {
  const requests = [];
  class Recording extends DefaultHttpClient {
    async send(request) {
      const response = await super.send(request);
      requests.push(`${request.method} ${response.statusCode}`);
      return response;
    }
  }
  const key = s.newKey();
  const connection = await s.connect(`/conformance?log=${key}`, { httpClient: new Recording(NullLogger.instance) });
  await stillWorks(connection);
  await connection.stop();
  assert.equal(requests.at(-1), "DELETE 202");
  await within(5, s.seenBecomes(key, "connected,disconnected"));
});

// The official server's clock ticks once a second: this client, who pings after it was pinged, is then too late for this hub.
everywhere("pings keep an idle connection", async (s) => {
  const connection = s.build("/impatient");
  [connection.keepAliveIntervalInMilliseconds, connection.serverTimeoutInMilliseconds] = [300, 2000];
  let end = "still open";
  connection.onclose((error) => (end = `closed: ${error}`));
  await startInTime(connection);
  await readAll(connection.stream("Counter", 1, 3500)); // nothing is sent meanwhile
  assert.equal(end, "still open");
  await stillWorks(connection);
}, { beyond: true });

notOverLongPolling("a silent client is disconnected", async (s) => {
  const key = s.newKey();
  const connection = s.build(`/impatient?log=${key}`);
  connection.keepAliveIntervalInMilliseconds = 60_000;
  const end = closed(connection);
  await startInTime(connection);
  assert.equal(String(await end), "Error: Server returned an error on close: Connection closed with an error.");
  await s.seenBecomes(key, "connected,disconnected with error");
});

// ---- who may have it

everywhere("a hub for users only", async (s) => {
  await assert.rejects(s.connect("/auth", as("")), /401/);
  await assert.rejects(s.connect("/auth", as("bad")), /401/);
  assert.equal(await (await s.connect("/auth", as("ann"))).invoke("UserId"), "ann");
});

overWebSockets("a hub for users only, without negotiation", async (s) => {
  await assert.rejects(s.connect("/auth", { skipNegotiation: true, ...as("") }), /WebSocket failed to connect/);
  assert.equal(await (await s.connect("/auth", { skipNegotiation: true, ...as("ann") })).invoke("UserId"), "ann");
});

everywhere("a method for some users only", async (s) => {
  const [plain, admin] = [await s.connect("/auth", as("ann")), await s.connect("/auth", as("bob:admin"))];
  assert.equal(await admin.invoke("ForAdmins"), "for admins");
  await assert.rejects(plain.invoke("ForAdmins"), { message: "Failed to invoke 'ForAdmins' because user is unauthorized" });
  await stillWorks(plain);
});

everywhere("what was sent right before stop() is done", async (s) => {
  const key = s.newKey();
  const leave = async (i) => {
    const connection = await s.connect(`/conformance?log=${key}-${i}`);
    await connection.send("Save", `${key}-${i}`, 1);
    await connection.send("Save", `${key}-${i}`, 2);
    await connection.stop();
    await s.seenBecomes(`${key}-${i}`, "connected,saved 1,saved 2,disconnected");
  };
  for (const few of range(4)) await Promise.all(range(5).map((i) => leave(5 * few + i)));
}, { beyond: true });
