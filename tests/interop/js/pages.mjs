// An origin of its own: serves this folder's files to pages, and at / an empty page. Any page may read them.
//   node pages.mjs      prints 'listening http://127.0.0.1:PORT'
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
const types = { ".js": "text/javascript", ".mjs": "text/javascript" };

const server = createServer(async (request, response) => {
  const path = normalize(new URL(request.url, "http://localhost").pathname);
  const type = path === "/" ? "text/html" : types[extname(path)];
  const body = path === "/" ? "<!doctype html><title>page</title>" : type && (await readFile(join(folder, path)).catch(() => null));
  response.writeHead(body ? 200 : 404, { "Content-Type": type ?? "text/plain", "Access-Control-Allow-Origin": "*" });
  response.end(body || "not here");
});
server.listen(0, "127.0.0.1", () => console.log(`listening http://127.0.0.1:${server.address().port}`));
