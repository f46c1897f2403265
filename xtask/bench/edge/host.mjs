// Runs the measured Workers side by side on one workerd, each on a socket of its own, without the
// proxy that `wrangler dev` puts in front. Reads its configuration from the file named in argv[2],
// writes the URLs to the file named there, and stays until it is told to stop.
import { appendFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { Miniflare, convertV4MiniflareOptions } from "miniflare";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));

const workers = config.workers.map(({ name, modules, bindings, kv }) => ({
  name,
  modules: modules.map(({ type, path }) => ({ type, path })),
  modulesRoot: config.root,
  compatibilityDate: config.compatibilityDate,
  bindings,
  kvNamespaces: kv,
  unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
}));

const inspectorPort = config.heap ? 0 : undefined;
const start = (workers) =>
  new Miniflare(convertV4MiniflareOptions({ workers, host: "127.0.0.1", port: 0, inspectorPort }));

// Whole or not at all: somebody waits for this file.
function write(result) {
  writeFileSync(`${config.urls}.new`, JSON.stringify(result));
  renameSync(`${config.urls}.new`, config.urls);
}

if (config.starts) {
  const ms = Object.fromEntries(workers.map(({ name }) => [name, []]));
  for (let round = 0; round < config.starts; round++) {
    for (const worker of workers) {
      const began = performance.now();
      const miniflare = start([worker]);
      const url = new URL("/api/v1/licenses/validate", await miniflare.unsafeGetDirectURL(worker.name));
      const answer = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(config.body),
      });
      const verdict = await answer.json();
      if (!verdict.valid) throw new Error(`${worker.name}: ${JSON.stringify(verdict)}`);
      ms[worker.name].push(performance.now() - began);
      await miniflare.dispose();
    }
  }
  write(ms);
  process.exit(0);
}

const miniflare = start(workers);
await miniflare.ready;
const urls = {};
for (const { name } of workers) urls[name] = (await miniflare.unsafeGetDirectURL(name)).href;
if (config.heap) await watchHeap(workers[0].name, 250);
write(urls);

// Notes again and again what V8 says of a Worker's isolate, in bytes: its objects, the runtime's that
// belong to them, and what buffers hold. Garbage that was not collected yet is in it; the memory of
// Wasm is not.
async function watchHeap(worker, everyMs) {
  const inspector = await miniflare.getInspectorURL();
  const targets = await (await fetch(`http://${inspector.host}/json`)).json();
  const target = targets.find(({ id }) => id === `core:user:${worker}`);
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  const ask = (method, id) => socket.send(JSON.stringify({ id, method }));
  socket.addEventListener("message", ({ data }) => {
    const { result } = JSON.parse(data);
    if (result?.usedSize === undefined) return;
    const bytes = result.usedSize + result.embedderHeapUsedSize + result.backingStorageSize;
    appendFileSync(config.heap, `${bytes}\n`);
  });
  ask("Runtime.enable", 1);
  setInterval(() => ask("Runtime.getHeapUsage", 2), everyMs);
}

const stop = async () => {
  await miniflare.dispose();
  process.exit(0);
};
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, stop);
