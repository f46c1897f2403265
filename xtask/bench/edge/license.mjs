// What the Workers in JavaScript have in common: keys, status list and features from bindings, and the
// answer to a token whose signature has been checked.
import { importJWK } from "jose";

const TEXT = new TextEncoder();
export async function prepare(env) {
  const keys = new Map();
  for (const jwk of JSON.parse(env.JWKS).keys) keys.set(jwk.kid, await importJWK(jwk, "EdDSA"));
  const claims = JSON.parse(atob(env.STATUS_LIST.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  const packed = Uint8Array.from(
    atob(claims.status_list.lst.replaceAll("-", "+").replaceAll("_", "/")),
    (c) => c.charCodeAt(0),
  );
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const list = new Uint8Array(await new Response(stream).arrayBuffer());
  return { keys, list, asOf: claims.iat, features: JSON.parse(env.FEATURES), issuer: env.ISSUER };
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

const iso = (seconds) => new Date(seconds * 1000).toISOString().replace(".000Z", "Z");

export function refuse(code, detail) {
  return answer({ valid: false, code, detail });
}

function answer(verdict) {
  verdict.request_id = crypto.randomUUID();
  return new Response(JSON.stringify(verdict), {
    headers: {
      "content-type": "application/json",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "x-request-id": verdict.request_id,
    },
  });
}

// Decides about the claims of a token, as the edge does.
export async function decide(payload, body, state) {
  const index = payload.status.status_list.idx;
  const status = (state.list[index >> 1] >> ((index & 1) * 4)) & 15;
  if (status !== 0 && status !== 12) return refuse("REVOKED", "The license has been revoked.");
  const now = Math.floor(Date.now() / 1000);
  if (payload.lexp !== undefined && now >= payload.lexp) return refuse("LICENSE_EXPIRED", "It has ended.");
  if (payload.fp !== undefined) {
    const digest = await crypto.subtle.digest("SHA-256", TEXT.encode(body.fingerprint ?? ""));
    if (base64url(new Uint8Array(digest)) !== payload.fp) return refuse("FINGERPRINT_MISMATCH", "Another device.");
  }
  for (const name of body.require ?? []) {
    if (!state.features.values[name]) return refuse("FEATURE_MISSING", "A required feature is missing.");
  }
  return answer({
    valid: true,
    code: "VALID",
    detail: "The license is valid.",
    license: {
      id: payload.sub,
      tier: payload.tier,
      products: payload.aud,
      expires_at: payload.lexp === undefined ? null : iso(payload.lexp),
      revision: payload.rev?.license,
    },
    activation_id: payload.act,
    features: state.features.values,
    feature_set: state.features.set,
    token: {
      expires_at: iso(payload.exp),
      refresh_after: iso(payload.iat + Math.floor((payload.exp - payload.iat) / 2)),
    },
    freshness: {
      as_of: iso(state.asOf),
      age_s: now - state.asOf,
      source: "memory",
      degraded: null,
      grace_remaining_s: null,
    },
    grace_remaining_s: payload.exp + payload.grace - now,
  });
}
