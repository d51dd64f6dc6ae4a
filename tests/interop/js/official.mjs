// The official client's browser bundles, which a page has loaded as scripts, under the names that modules import.
export const {
  DefaultHttpClient, HttpTransportType, HubConnectionBuilder, JsonHubProtocol, NullLogger, Subject,
} = globalThis.signalR;
export const { MessagePackHubProtocol } = globalThis.signalR.protocols.msgpack;
