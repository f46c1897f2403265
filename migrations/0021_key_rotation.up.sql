-- Signing keys that rotate: published ahead, in use, verifying what they signed, and at their end.

ALTER TABLE licet.signing_keys DROP CONSTRAINT signing_keys_state_known;
ALTER TABLE licet.signing_keys ADD CONSTRAINT signing_keys_state_known
    CHECK (state IN ('PUBLISHED', 'ACTIVE', 'VERIFY_ONLY', 'RETIRED', 'WITHDRAWN'));

ALTER TABLE licet.signing_keys
    -- Where the private half is: in sealed_seed, or in a hardware security module.
    ADD COLUMN store         text NOT NULL DEFAULT 'SEALED',
    -- Of a key in a module: its CKA_ID there.
    ADD COLUMN object_id     bytea,
    -- Since when it signs.
    ADD COLUMN activated_at  timestamptz,
    -- Since when another signs in its place.
    ADD COLUMN superseded_at timestamptz,
    -- When nothing that it has signed counts any more.
    ADD COLUMN signed_until  timestamptz,
    -- Since when it is no longer in the key set.
    ADD COLUMN ended_at      timestamptz,
    ADD COLUMN withdrawn_why text,
    -- Deleted with the key's last signature.
    ALTER COLUMN sealed_seed DROP NOT NULL,
    ADD CONSTRAINT signing_keys_store_known CHECK (store IN ('SEALED', 'PKCS11')),
    ADD CONSTRAINT signing_keys_withdrawn_why_known
        CHECK (withdrawn_why IN ('KEY_COMPROMISE', 'SUSPECTED_COMPROMISE', 'UNSPECIFIED')),
    ADD CONSTRAINT signing_keys_object_id_length CHECK (octet_length(object_id) BETWEEN 1 AND 64);

-- Forced row-level security would hide the rows from a migrating role that is no superuser.
ALTER TABLE licet.signing_keys NO FORCE ROW LEVEL SECURITY;
UPDATE licet.signing_keys SET activated_at = created_at;
ALTER TABLE licet.signing_keys FORCE ROW LEVEL SECURITY;

-- One signs.
CREATE UNIQUE INDEX signing_keys_active_key ON licet.signing_keys (org_id) WHERE state = 'ACTIVE';

-- A key's halves stay what they are: what is sealed anew is the same seed, and public_key is never
-- written again.
GRANT UPDATE (sealed_seed, activated_at, superseded_at, signed_until, ended_at, withdrawn_why)
    ON licet.signing_keys TO licet_app;
