REVOKE UPDATE (sealed_seed, activated_at, superseded_at, signed_until, ended_at, withdrawn_why)
    ON licet.signing_keys FROM licet_app;
DROP INDEX licet.signing_keys_active_key;
ALTER TABLE licet.signing_keys NO FORCE ROW LEVEL SECURITY;
-- What the states were before can say: what is out of use, or not yet in use, verifies at most.
UPDATE licet.signing_keys SET state = CASE state WHEN 'RETIRED' THEN 'WITHDRAWN' ELSE 'VERIFY_ONLY' END
    WHERE state IN ('PUBLISHED', 'RETIRED');
UPDATE licet.signing_keys SET sealed_seed = '' WHERE sealed_seed IS NULL;
ALTER TABLE licet.signing_keys FORCE ROW LEVEL SECURITY;
ALTER TABLE licet.signing_keys DROP CONSTRAINT signing_keys_state_known;
ALTER TABLE licet.signing_keys ADD CONSTRAINT signing_keys_state_known
    CHECK (state IN ('ACTIVE', 'VERIFY_ONLY', 'WITHDRAWN'));
ALTER TABLE licet.signing_keys
    DROP CONSTRAINT signing_keys_object_id_length,
    DROP CONSTRAINT signing_keys_withdrawn_why_known,
    DROP CONSTRAINT signing_keys_store_known,
    ALTER COLUMN sealed_seed SET NOT NULL,
    DROP COLUMN withdrawn_why,
    DROP COLUMN ended_at,
    DROP COLUMN signed_until,
    DROP COLUMN superseded_at,
    DROP COLUMN activated_at,
    DROP COLUMN object_id,
    DROP COLUMN store;
