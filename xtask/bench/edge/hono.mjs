// Another Worker one would write: hono with its JWT middleware, which takes the token as a bearer.
// hono's own check knows one key; status, features and answer are those of `jose.mjs`.
import { Hono } from "hono";
import { jwt } from "hono/jwt";
import { decide, prepare, refuse } from "./license.mjs";

let ready;
let check;

const app = new Hono();
app.use(async (context, next) => {
  ready ??= prepare(context.env);
  const state = await ready;
  check ??= jwt({
    secret: state.keys.values().next().value,
    alg: "EdDSA",
    verification: { typ: "license+jwt", iss: state.issuer, aud: "local_cli" },
  });
  context.set("state", state);
  return check(context, next);
});
app.post("/api/v1/licenses/validate", async (context) =>
  decide(context.get("jwtPayload"), await context.req.json(), context.get("state")),
);
app.onError(() => refuse("SIGNATURE_INVALID", "The token's signature does not fit."));

export default app;
