// What only a browser does: it sends cookies, and keeps a page from the servers of another origin that do not allow it.
import assert from "node:assert/strict";
import { HttpTransportType } from "@microsoft/signalr";
import { inBrowser, onForeignPage, onTokenPage } from "./registry.mjs";
import { as, within } from "./session.mjs";

inBrowser("a cookie reaches the hub", async (s) => {
  document.cookie = "visitor=ann; SameSite=Strict";
  const connection = await s.connect();
  assert.match(await connection.invoke("HeaderValue", "Cookie"), /\bvisitor=ann\b/);
});

inBrowser("the hub hears where the page is from", async (s) => {
  const connection = await s.connect();
  const origin = await connection.invoke("HeaderValue", "Origin");
  if (s.place.page === "credentials") assert.equal(origin, location.origin);
  else assert.ok([null, location.origin].includes(origin), origin);
});

inBrowser("with every transport allowed it is a WebSocket", async (s) => {
  const connection = await s.connect("/conformance", { transport: undefined });
  assert.equal(await connection.invoke("HeaderValue", "Upgrade"), "websocket");
});

onTokenPage("a token reaches the hub, and no cookie where the browser leaves the choice", async (s) => {
  document.cookie = "visitor=ann; SameSite=Strict";
  const connection = await s.connect("/auth");
  assert.equal(await connection.invoke("UserId"), s.place.token);
  const inHeader = s.place.transport === "longpolling";
  assert.equal(await connection.invoke("HeaderValue", "Authorization"), inHeader ? `Bearer ${s.place.token}` : null);
  assert.equal(await connection.invoke("QueryValue", "access_token"), inHeader ? null : s.place.token);
  const cookie = await connection.invoke("HeaderValue", "Cookie");
  assert.equal(cookie, s.place.transport === "websockets" ? "visitor=ann" : null);
});

onTokenPage("each start asks for a token anew", async (s) => {
  const tokens = ["ann", "bob"];
  let token;
  const connection = s.build("/auth", { accessTokenFactory: () => token });
  for (token of tokens) {
    await connection.start();
    assert.equal(await connection.invoke("UserId"), token);
    await connection.stop();
  }
});

// ---- a page of an origin that the server does not allow

onForeignPage("negotiation is refused", async (s) => {
  const key = s.newKey();
  for (const options of [{}, { withCredentials: false }, as("ann"), { transport: HttpTransportType.None }]) {
    await assert.rejects(s.connect(`/conformance?log=${key}`, options), /Failed to complete negotiation with the server/);
  }
  assert.equal(await s.seen(key), "none");
});

onForeignPage("a WebSocket without negotiation is refused", async (s) => {
  const key = s.newKey();
  const options = { transport: HttpTransportType.WebSockets, skipNegotiation: true };
  await assert.rejects(s.connect(`/conformance?log=${key}`, options), /WebSocket failed to connect/);
  await assert.rejects(s.connect(`/conformance?log=${key}`, { ...options, ...as("ann") }), /WebSocket failed to connect/);
  assert.equal(await s.seen(key), "none");
});

onForeignPage("a connection that another negotiated is refused, and not harmed", async (s) => {
  const key = s.newKey();
  const negotiated = await s.place.ask(`${s.url}/conformance/negotiate?negotiateVersion=1`, "POST");
  const url = `${s.url}/conformance?log=${key}&id=${JSON.parse(negotiated).connectionToken}`;
  await within(5, {
    websockets: () => new Promise((done, fail) => {
      const socket = new WebSocket(url.replace("http", "ws"));
      [socket.onerror, socket.onopen] = [done, () => fail(new Error("it opened"))];
    }),
    sse: () => new Promise((done, fail) => {
      const source = new EventSource(url, { withCredentials: true });
      [source.onerror, source.onopen] = [() => done(source.close()), () => fail(new Error("it opened"))];
    }),
    longpolling: () => assert.rejects(fetch(url, { credentials: "include" }), TypeError),
  }[s.place.transport]());
  await assert.rejects(fetch(url, { method: "DELETE", credentials: "include" }), TypeError);
  await assert.rejects(fetch(url, { method: "POST", body: "{}", credentials: "include" }), TypeError);
  assert.equal(await s.seen(key), "none");
  assert.equal(await s.place.ask(url), ""); // no page asks here, and a first poll is answered at once
});

onForeignPage("an image, and a frame, of such a page opens nothing", async (s) => {
  const negotiated = await s.place.ask(`${s.url}/conformance/negotiate?negotiateVersion=1`, "POST");
  const url = `${s.url}/conformance?id=${JSON.parse(negotiated).connectionToken}`;
  const image = new Image();
  await within(5, new Promise((done) => {
    [image.onload, image.onerror, image.referrerPolicy] = [done, done, "no-referrer"];
    image.src = url;
  }));
  const frame = document.createElement("iframe");
  await within(5, new Promise((done) => {
    [frame.onload, frame.src] = [done, url];
    document.body.append(frame);
  }));
  frame.remove();
  assert.equal(await within(5, s.place.ask(url)), ""); // this is the first poll, which is answered at once
});
