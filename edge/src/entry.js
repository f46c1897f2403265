// The Worker's entry. `validate` is most of what an edge is asked, so its body is read here and one
// call into Wasm answers it from memory: no promise, no header and no object is made on the Rust
// side. Whatever else there is goes the whole way, through the Worker that worker-build made.
import Worker from "../build/index.js";

const VALIDATE = "/api/v1/licenses/validate";
const JSON_TYPE = "application/json";
const MAX_BODY_BYTES = 64 * 1024;
const BODY_MS = 10_000;

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

async function validate(request, env, context) {
  const body = await read(request);
  try {
    if (typeof body !== "string") {
      const answer = wasm.validate_at_once(body);
      if (answer !== undefined && headersSuit(request)) return respond(answer);
    }
    return await wasm.validate_read(request, body, env, context);
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
    throw error;
  }
}

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

// The body, of the declared length at most; "late" or "broken" if it does not come.
function read(request) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, BODY_MS, "late");
    const settle = (body) => {
      clearTimeout(timer);
      resolve(body);
    };
    request.arrayBuffer().then((buffer) => settle(new Uint8Array(buffer)), () => settle("broken"));
  });
}

// The same for all answers of an isolate, and asked for once.
let headers;

function headersSuit(request) {
  headers ??= wasm.headers_at_once();
  return headers.vary === undefined || !request.headers.has("origin");
}

function respond(answer) {
  // The last of the answer's members: `…,"request_id":"req_…"}`.
  const id = answer.slice(answer.lastIndexOf(":") + 2, -2);
  return new Response(answer, { headers: { ...headers, "x-request-id": id } });
}
