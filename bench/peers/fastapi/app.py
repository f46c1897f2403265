"""The validate service one would write instead: FastAPI over asyncpg, on the same schema.

One license key and one device in, what they may do out: the lookups of the origin's refresh,
under the same row-level security, in one transaction. It signs nothing and checks no caller,
which the origin does. What helps it is done: uvloop and httptools, prepared statements kept by
asyncpg, the tenant set together with BEGIN, and organizations remembered by their tags.
"""

import base64
import hashlib
import json
import os
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel

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


@asynccontextmanager
async def lifespan(_: FastAPI):
    size = int(os.environ["POOL_SIZE"])
    State.pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=size, max_size=size, init=prepare,
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
        # An id of ours, not the caller's text: nothing to escape.
        await connection.execute(f"BEGIN; SET LOCAL licet.org_id = '{org}'")
        try:
            row = await connection.fetchrow(GRANT, org, key_hash, fingerprint_hash)
        finally:
            await connection.execute("COMMIT")
    return decide(row, question.product)
