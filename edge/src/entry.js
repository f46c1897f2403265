// The Worker's entry. `validate` is most of what an edge is asked, so its body is read here and one
// call into Wasm answers it from memory: no promise, no header and no object is made on the Rust
// side. Whatever else there is goes the whole way, through the Worker that worker-build made.
import Worker from "../build/index.js";

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
    return canBeReadHere(request)
      ? validate(request, env, context)
      : new Worker(context, env).fetch(request);
  },
};

// Anything out of the ordinary is not, and gets its answer or its problem the whole way.
function canBeReadHere(request) {
  if (request.method !== "POST" || !leadsToValidate(request.url) || state.criticalError) return false;
  const { headers } = request;
  const length = headers.get("content-length");
  return length !== null && length <= MAX_BODY_BYTES && headers.get("content-type") === JSON_TYPE;
}

// The runtime has parsed the URL and written it anew: its path begins at the first slash after the host.
function leadsToValidate(url) {
  return url.endsWith(VALIDATE) && url.indexOf("/", "https://".length) === url.length - VALIDATE.length;
}

async function validate(request, env, context) {
  const body = await read(request, context);
  if (typeof body === "string") return wholeWay(request, body, env, context);
  return answer(request, new Uint8Array(body), env, context);
}

// The body, of the declared length at most; or "late", or "broken".
function read(request, context) {
  const reading = watched(context);
  return new Promise((resolve) => {
    const done = (what) => {
      reading.delete(resolve);
      resolve(what);
    };
    reading.add(resolve);
    request.arrayBuffer().then(done, () => done("broken"));
  });
}

// Those that wait for a body and began lately, and until when others join them.
let latest;
let openUntil = 0;

// Where to wait for a body. The watch outlives the request that set it up; whoever it wakes goes on
// as the request that it is.
function watched(context) {
  const now = Date.now();
  if (now >= openUntil || now < openUntil - WATCH_MS) {
    const reading = new Set();
    context.waitUntil(
      new Promise((resolve) => {
        setTimeout(() => {
          for (const late of reading) late("late");
          resolve();
        }, BODY_MS + WATCH_MS);
      }),
    );
    latest = reading;
    openUntil = now + WATCH_MS;
  }
  return latest;
}

let ticket = 0;

function answer(request, body, env, context) {
  try {
    const headers = headersFor(request);
    if (headers !== undefined) {
      ticket = (ticket + 1) >>> 0;
      const known = wasm.validate_at_once(body, ticket);
      if (typeof known === "string") return respond(known, headers);
      if (known !== undefined) return answerUnseen(known, ticket, headers, request, body, env, context);
    }
  } catch (error) {
    throw noted(error);
  }
  return wholeWay(request, body, env, context);
}

// Of a token not seen before: all that is awaited is the check of its signature.
async function answerUnseen(check, ticket, headers, request, body, env, context) {
  let holds;
  try {
    holds = await check;
  } catch {
    // Where the runtime can't say, the whole way has another means.
    return wholeWay(request, body, env, context);
  }
  try {
    const text = wasm.validate_checked(ticket, holds);
    if (text !== undefined) return respond(text, headers);
  } catch (error) {
    throw noted(error);
  }
  return wholeWay(request, body, env, context);
}

async function wholeWay(request, body, env, context) {
  try {
    return await wasm.validate_read(request, body, env, context);
  } catch (error) {
    throw noted(error);
  }
}

// Notes what has left Wasm in pieces, as worker-build's own wrappers do.
function noted(error) {
  if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
  return error;
}

// What the headers of all answers that an isolate gives at once have in common, asked for once: for pages,
// which say where they come from, and for all others.
let pageHeaders;
let otherHeaders;

// None where the isolate has not begun yet, or where it depends on the page, as `vary` says.
function headersFor(request) {
  otherHeaders ??= commonHeaders(false);
  if (otherHeaders === undefined || !request.headers.has("origin")) return otherHeaders;
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
