-- Floating seats: who holds one, and until when. A lease takes its seat for as long as it has not
-- ended; one whose time and margin have passed is ended by whoever next takes a seat of its
-- license, under the license's lock (origin/src/db/leases.rs).

CREATE TABLE licet.leases (
    org_id        uuid        NOT NULL,
    id            uuid        NOT NULL,
    license_id    uuid        NOT NULL,
    activation_id uuid        NOT NULL,
    -- As the client calls itself: a user, a host, a process. It may name a person, so the row goes
    -- soon after its end.
    holder        text        NOT NULL,
    -- SHA-256 of the machine's fingerprint in base64url.
    machine_hash  text        NOT NULL,
    borrowed      boolean     NOT NULL,
    acquired_at   timestamptz NOT NULL,
    renewed_at    timestamptz NOT NULL,
    -- The end of its newest token.
    expires_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    ended_why     text,
    -- Hashes of the client's idempotency key and of what it asked: asked again, it is this lease.
    request_key   bytea       NOT NULL,
    request_hash  bytea       NOT NULL,
    CONSTRAINT leases_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT leases_request_key_key UNIQUE (org_id, request_key),
    CONSTRAINT leases_license_fkey FOREIGN KEY (org_id, license_id) REFERENCES licet.licenses (org_id, id),
    CONSTRAINT leases_activation_fkey FOREIGN KEY (org_id, activation_id) REFERENCES licet.activations (org_id, id),
    CONSTRAINT leases_holder_length CHECK (octet_length(holder) BETWEEN 1 AND 128),
    CONSTRAINT leases_machine_length CHECK (length(machine_hash) = 43),
    CONSTRAINT leases_request_key_length CHECK (octet_length(request_key) = 32),
    CONSTRAINT leases_request_hash_length CHECK (octet_length(request_hash) = 32),
    CONSTRAINT leases_end_known CHECK ((ended_at IS NULL) = (ended_why IS NULL)),
    CONSTRAINT leases_ended_why_known CHECK (ended_why IN ('EXPIRED', 'RELEASED', 'TAKEN_BACK', 'DEACTIVATED'))
-- A heartbeat writes expires_at and renewed_at alone, which no index has: it stays within its page.
) WITH (fillfactor = 70);

-- Those that take a seat: what a license's seats are counted by.
CREATE INDEX leases_open ON licet.leases (org_id, license_id, id) WHERE ended_at IS NULL;
CREATE INDEX leases_license ON licet.leases (org_id, license_id, id);
-- What ends with an activation.
CREATE INDEX leases_activation ON licet.leases (org_id, activation_id) WHERE ended_at IS NULL;
CREATE INDEX leases_outworn ON licet.leases (org_id, ended_at) WHERE ended_at IS NOT NULL;

ALTER TABLE licet.leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.leases FORCE ROW LEVEL SECURITY;
CREATE POLICY leases_select ON licet.leases FOR SELECT TO licet_app
    USING (org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid);
CREATE POLICY leases_insert ON licet.leases FOR INSERT TO licet_app
    WITH CHECK (org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid);
CREATE POLICY leases_update ON licet.leases FOR UPDATE TO licet_app
    USING (org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid)
    WITH CHECK (org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid);
CREATE POLICY leases_delete ON licet.leases FOR DELETE TO licet_app USING (false);
GRANT SELECT, INSERT, UPDATE ON licet.leases TO licet_app;

-- The period is that of origin/src/jobs/retention.rs.
GRANT SELECT (org_id, id, expires_at, ended_at), DELETE ON licet.leases TO licet_system;
CREATE POLICY leases_system_select ON licet.leases FOR SELECT TO licet_system
    USING (org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid
        AND coalesce(ended_at, expires_at) < now() - interval '7 days');
CREATE POLICY leases_system_delete ON licet.leases FOR DELETE TO licet_system
    USING (org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid
        AND coalesce(ended_at, expires_at) < now() - interval '7 days');
