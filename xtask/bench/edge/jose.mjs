// The Worker one would write instead: the same token, claims, status, features and answer, with
// the npm package `jose`. Keys, status list and features come ready in bindings and are prepared
// once per isolate, so nothing is fetched while it is measured.
import { jwtVerify, errors } from "jose";
import { decide, prepare, refuse } from "./license.mjs";

let ready;

export default {
  async fetch(request, env) {
    if (request.method !== "POST") return new Response(null, { status: 405 });
    if (!request.headers.get("content-type")?.startsWith("application/json")) {
      return new Response(null, { status: 415 });
    }
    const body = await request.json();
    ready ??= prepare(env);
    const state = await ready;
    let payload;
    try {
      ({ payload } = await jwtVerify(body.token, (header) => state.keys.get(header.kid), {
        algorithms: ["EdDSA"],
        typ: "license+jwt",
        issuer: state.issuer,
        audience: body.product,
        requiredClaims: ["exp", "iat", "sub", "jti"],
      }));
    } catch (error) {
      if (error instanceof errors.JWTExpired) return refuse("TOKEN_EXPIRED", "The token has ended.");
      return refuse("SIGNATURE_INVALID", "The token's signature does not fit.");
    }
    return decide(payload, body, state);
  },
};
