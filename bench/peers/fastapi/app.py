"""The service one would write instead: FastAPI over asyncpg, on the same schema.

Two things, under the same row-level security as the origin.

`/api/v1/licenses/lookup` is the origin's: an API key shows who asks, a license key says for what.
The same statements in the same two transactions, and the same fields in the answer.

`/validate` takes a license key and one device, and says what they may do: what the origin looks up
to renew a token, in one transaction. It signs nothing and checks no caller, which the origin does.

What helps it is done: uvloop and httptools, prepared statements kept by asyncpg, the tenant set
together with BEGIN, organizations remembered by their tags, one connection for both transactions
and no reset after them, answers written by pydantic's core without a model.
"""

import base64
import hashlib
import json
import os
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import asyncpg
from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json

GRANT = """
SELECT l.id, l.status, l.expires_at, p.tier, p.fingerprint_rule, f.feature_set_id, f.revision, f.features,
    ARRAY(SELECT d.code FROM licet.license_products c
          JOIN licet.products d ON d.org_id = c.org_id AND d.id = c.product_id
          WHERE c.org_id = l.org_id AND c.license_id = l.id ORDER BY d.code) AS products,
    a.id AS activation_id
FROM licet.licenses l
JOIN licet.policies p ON p.org_id = l.org_id AND p.id = l.policy_id
JOIN licet.feature_sets s ON s.org_id = l.org_id AND s.id = l.feature_set_id
JOIN licet.feature_set_revisions f ON f.org_id = s.org_id AND f.feature_set_id = s.id
    AND f.revision = s.current_revision
LEFT JOIN licet.activations a ON a.org_id = l.org_id AND a.license_id = l.id
    AND a.fingerprint_hash = $3 AND a.deactivated_at IS NULL
WHERE l.org_id = $1 AND l.key_hash = $2
"""

LIVE_API_KEY = """
SELECT k.id, k.scopes, o.plan,
    coalesce(k.last_used_at < $3::timestamptz - interval '1 minute', true) AS unnoted
FROM licet.api_keys k
JOIN licet.organizations o ON o.org_id = k.org_id
WHERE k.org_id = $1 AND k.key_hash = $2 AND k.revoked_at IS NULL
    AND (k.expires_at IS NULL OR k.expires_at > $3) AND o.closed_at IS NULL
"""

NOTE_USE = """
UPDATE licet.api_keys SET last_used_at = $3 WHERE org_id = $1 AND id IN (
    SELECT k.id FROM licet.api_keys k WHERE k.org_id = $1 AND k.id = $2
    FOR NO KEY UPDATE SKIP LOCKED)
"""

LICENSE = """
SELECT l.id, e.status, e.since AS status_since, l.policy_id, p.name AS policy, p.tier, l.feature_set_id,
    ARRAY(SELECT d.code FROM licet.license_products c
          JOIN licet.products d ON d.org_id = c.org_id AND d.id = c.product_id
          WHERE c.org_id = l.org_id AND c.license_id = l.id ORDER BY d.code) AS products,
    l.features, l.max_activations, l.own_max_activations,
    (SELECT count(*) FROM licet.activations a WHERE a.org_id = l.org_id
         AND a.license_id = l.id AND a.deactivated_at IS NULL) AS live_activations,
    l.expires_at, l.metadata, l.created_at, l.updated_at
FROM licet.licenses l
JOIN licet.policies p ON p.org_id = l.org_id AND p.id = l.policy_id
CROSS JOIN LATERAL (SELECT
    CASE WHEN l.status = 'ACTIVE' AND l.expires_at <= now() THEN 'EXPIRED'
         ELSE l.status END,
    CASE WHEN l.status = 'ACTIVE' AND l.expires_at <= now() THEN l.expires_at
         ELSE l.status_since END) AS e (status, since)
WHERE l.org_id = $1 AND l.key_hash = $2
"""

API_KEY = "licet_sk_"


class Lookup(BaseModel):
    license_key: str


class Question(BaseModel):
    license_key: str
    product: str
    fingerprint: str


class Verdict(BaseModel):
    valid: bool
    code: str
    license_id: str | None = None
    activation_id: str | None = None
    tier: str | None = None
    products: list[str] | None = None
    expires_at: datetime | None = None
    feature_set: dict[str, Any] | None = None
    features: dict[str, Any] | None = None


class State:
    pool: asyncpg.Pool
    orgs: dict[str, Any] = {}


async def prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def leave_as_it_is(_: asyncpg.Connection) -> None:
    """Nothing outlives a transaction here: a reset would be one more question after each request."""


@asynccontextmanager
async def lifespan(_: FastAPI):
    size = int(os.environ["POOL_SIZE"])
    State.pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=size, max_size=size, init=prepare,
        reset=leave_as_it_is,
        server_settings={"jit": "off", "join_collapse_limit": "1"},
    )
    yield
    await State.pool.close()


app = FastAPI(lifespan=lifespan)


async def org_of(connection: asyncpg.Connection, tag: str) -> Any:
    org = State.orgs.get(tag)
    if org is None:
        org = await connection.fetchval("SELECT licet.org_id_by_tag($1)", tag)
        if org is not None:
            State.orgs[tag] = org
    return org


class tenant:
    """A transaction of one organization."""

    def __init__(self, connection: asyncpg.Connection, org: UUID) -> None:
        self.connection, self.org = connection, org

    async def __aenter__(self) -> None:
        # An id of ours, not the caller's text: nothing to escape.
        await self.connection.execute(f"BEGIN; SET LOCAL licet.org_id = '{self.org}'")

    async def __aexit__(self, kind: Any, *_: Any) -> None:
        await self.connection.execute("COMMIT" if kind is None else "ROLLBACK")


def decide(row: asyncpg.Record | None, product: str) -> Verdict:
    if row is None:
        return Verdict(valid=False, code="LICENSE_NOT_FOUND")
    code = "VALID"
    if row["status"] != "ACTIVE":
        code = row["status"]
    elif row["expires_at"] is not None and row["expires_at"] <= datetime.now(timezone.utc):
        code = "LICENSE_EXPIRED"
    elif product not in row["products"]:
        code = "PRODUCT_MISMATCH"
    elif row["activation_id"] is None:
        code = "ACTIVATION_NOT_FOUND"
    return Verdict(
        valid=code == "VALID",
        code=code,
        license_id=str(row["id"]),
        activation_id=str(row["activation_id"]) if row["activation_id"] else None,
        tier=row["tier"],
        products=row["products"],
        expires_at=row["expires_at"],
        feature_set={"id": str(row["feature_set_id"]), "revision": row["revision"]},
        features=row["features"],
    )


@app.get("/health")
async def health() -> dict[str, bool]:
    return {"ok": True}


@app.post("/validate")
async def validate(question: Question) -> Verdict:
    symbols = question.license_key.replace("-", "").upper()
    key_hash = hashlib.sha256(symbols.encode()).digest()
    digest = hashlib.sha256(question.fingerprint.encode()).digest()
    fingerprint_hash = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    async with State.pool.acquire() as connection:
        org = await org_of(connection, symbols[:8])
        if org is None:
            return Verdict(valid=False, code="LICENSE_NOT_FOUND")
        async with tenant(connection, org):
            row = await connection.fetchrow(GRANT, org, key_hash, fingerprint_hash)
    return decide(row, question.product)


async def authenticate(connection: asyncpg.Connection, request: Request, scope: str) -> UUID:
    """The organization of the API key that the request shows."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    org = None
    if scheme.lower() == "bearer" and key.startswith(API_KEY):
        org = await org_of(connection, key[len(API_KEY) : len(API_KEY) + 8])
    if org is None:
        raise HTTPException(401)
    now = datetime.now(timezone.utc)
    async with tenant(connection, org):
        row = await connection.fetchrow(LIVE_API_KEY, org, hashlib.sha256(key.encode()).digest(), now)
        if row is not None and row["unnoted"]:
            await connection.execute(NOTE_USE, org, row["id"], now)
    if row is None:
        raise HTTPException(401)
    if scope not in row["scopes"]:
        raise HTTPException(403)
    return org


@app.post("/api/v1/licenses/lookup")
async def look_up(wanted: Lookup, request: Request) -> Response:
    symbols = wanted.license_key.replace("-", "").upper()
    key_hash = hashlib.sha256(symbols.encode()).digest()
    async with State.pool.acquire() as connection:
        org = await authenticate(connection, request, "licenses:read")
        async with tenant(connection, org):
            row = await connection.fetchrow(LICENSE, org, key_hash)
    if row is None:
        raise HTTPException(404)
    return Response(to_json(dict(row)), media_type="application/json")
