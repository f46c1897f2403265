// The Worker's entry. `validate` is most of what an edge is asked, so its body is read here and one
// call into Wasm answers it from memory: no promise, no header and no object is made on the Rust
// side. A body that was answered before is not even handed over (`answered.js`). Whatever else there
// is goes the whole way, through the Worker that worker-build made.
import Worker from "../build/index.js";
import { recall, remember } from "./answered.js";
import { weigh } from "./ballast.js";

const VALIDATE = "/api/v1/licenses/validate";
const JSON_TYPE = "application/json";
const MAX_BODY_BYTES = 64 * 1024;
// How long a body may take: one watch looks after all those that began within a while, since a
// timer for each would cost a twentieth of a request. So it is the time and that while at most.
const BODY_MS = 10_000;
const WATCH_MS = 1_000;

// The functions that Wasm exports, without the proxies that a `Worker` looks them up through.
const wasm = Worker.prototype;
// worker-build's: whether Wasm has to be set up anew, which the next `Worker` sees to.
const state = globalThis.__worker_init_state;

export default {
  fetch(request, env, context) {
    const { headers } = request;
    const length = lengthToRead(request, headers);
    return length === undefined
      ? new Worker(context, env).fetch(request)
      : validate(request, headers, length, env, context);
  },
};

// The bytes of a body that can be read here. Anything out of the ordinary can't, and gets its answer
// or its problem the whole way.
function lengthToRead(request, headers) {
  if (request.method !== "POST" || !leadsToValidate(request.url) || state.criticalError) return;
  const length = Number(headers.get("content-length") ?? NaN);
  if (length <= MAX_BODY_BYTES && headers.get("content-type") === JSON_TYPE) return length;
}

// The runtime has parsed the URL and written it anew: its path begins at the first slash after the host.
function leadsToValidate(url) {
  return url.endsWith(VALIDATE) && url.indexOf("/", "https://".length) === url.length - VALIDATE.length;
}

async function validate(request, asked, length, env, context) {
  const body = await read(request, context);
  try {
    const headers = typeof body === "string" ? headersFor(asked) : undefined;
    if (headers !== undefined) {
      const own = ++ticket;
      let text = again(body, length) ?? atOnce(body, length, own);
      if (typeof text === "object") text = await checked(text, own);
      if (text !== undefined) return respond(text, headers);
    }
    return await wasm.validate_read(request, sent(body, length), env, context);
  } catch (error) {
    // Notes what has left Wasm in pieces, as worker-build's own wrappers do.
    if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
    throw error;
  }
}

let ticket = 0;

// The answer to a body that was answered before.
function again(body, length) {
  const answered = recall(body, length);
  const rest = answered && wasm.validate_again(answered.ticket);
  return rest && answered.start + rest;
}

// The answer from memory, or a promise of what the check of a new token's signature comes to.
function atOnce(body, length, own) {
  const text = wasm.validate_at_once(body, length, own);
  if (typeof text === "string" && wasm.is_kept(own)) remember(body, length, own, text);
  return text;
}

// What follows from the check of a new token's signature. Where the runtime can't say, the whole way has
// another means.
function checked(check, own) {
  return check.then(
    (holds) => wasm.validate_checked(own, holds),
    () => undefined,
  );
}

// What there is where there is no body.
const LATE = null;
const BROKEN = undefined;

// The body, of the declared length at most; or LATE, or BROKEN. As text, which costs the runtime a
// twentieth of a request less than a buffer does.
function read(request, context) {
  const now = Date.now();
  const reading = watched(context, now);
  weigh(request, reading.size, now);
  return new Promise((resolve) => {
    const done = (what) => {
      reading.delete(resolve);
      resolve(what);
    };
    reading.add(resolve);
    request.text().then(done, () => done(BROKEN));
  });
}

// Those that wait for a body and began lately, and until when others join them.
let latest;
let openUntil = 0;

// Where to wait for a body. The watch outlives the request that set it up; whoever it wakes goes on
// as the request that it is.
function watched(context, now) {
  if (now >= openUntil || now < openUntil - WATCH_MS) {
    const reading = new Set();
    context.waitUntil(
      new Promise((resolve) => {
        setTimeout(() => {
          for (const late of reading) late(LATE);
          resolve();
        }, BODY_MS + WATCH_MS);
      }),
    );
    latest = reading;
    openUntil = now + WATCH_MS;
  }
  return latest;
}

// The bytes that were sent, or why there are none. The runtime drops a byte order mark, and replaces what is
// not UTF-8: where that shows, some that are no UTF-8 either stand for them.
function sent(text, length) {
  if (typeof text !== "string") return text;
  const bytes = new TextEncoder().encode(text);
  return bytes.length === length ? bytes : Uint8Array.of(0xff);
}

// What the headers of all answers that an isolate gives at once have in common, asked for once: for pages,
// which say where they come from, and for all others.
let pageHeaders;
let otherHeaders;

// None where the isolate has not begun yet, or where it depends on the page, as `vary` says.
function headersFor(asked) {
  otherHeaders ??= commonHeaders(false);
  if (otherHeaders === undefined || !asked.has("origin")) return otherHeaders;
  return otherHeaders.vary === undefined ? (pageHeaders ??= commonHeaders(true)) : undefined;
}

function commonHeaders(forPages) {
  const headers = wasm.headers_at_once(forPages);
  return headers === undefined ? undefined : Object.fromEntries(headers);
}

function respond(answer, headers) {
  // The last of the answer's members: `…,"request_id":"req_…"}`.
  const id = answer.slice(answer.lastIndexOf(":") + 2, -2);
  // A plain object: the runtime takes it in faster than it copies or changes `Headers`.
  return new Response(answer, { headers: { ...headers, "x-request-id": id } });
}
