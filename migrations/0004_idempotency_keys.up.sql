-- What became of requests that must not act twice. Tokens are made anew for a repeated
-- request, so nothing secret stands here. Rows older than a day no longer count.
-- No foreign key to organizations: every request would lock the one row that all share.

CREATE TABLE licet.idempotency_keys (
    org_id        uuid        NOT NULL,
    key           text        NOT NULL,
    -- SHA-256 of the operation and the body.
    request_hash  bytea       NOT NULL,
    -- Null while the transaction that wrote the row is at work, so never seen by another.
    code          text,
    activation_id uuid,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (org_id, key),
    CONSTRAINT idempotency_keys_key_length CHECK (length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_request_hash_length CHECK (octet_length(request_hash) = 32)
);

CREATE INDEX idempotency_keys_age ON licet.idempotency_keys (org_id, created_at);

ALTER TABLE licet.idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY idempotency_keys_select ON licet.idempotency_keys FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY idempotency_keys_insert ON licet.idempotency_keys FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY idempotency_keys_update ON licet.idempotency_keys FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY idempotency_keys_delete ON licet.idempotency_keys FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON licet.idempotency_keys TO licet_app;
