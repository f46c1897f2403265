ALTER TABLE licet.activations DROP COLUMN components;
-- Each of those without a fingerprint gets one that no device has.
ALTER TABLE licet.activations NO FORCE ROW LEVEL SECURITY;
UPDATE licet.activations
SET fingerprint_hash = rtrim(translate(encode(sha256(id::text::bytea), 'base64'), '+/', '-_'), '=')
WHERE fingerprint_hash IS NULL;
ALTER TABLE licet.activations FORCE ROW LEVEL SECURITY;
ALTER TABLE licet.activations ALTER COLUMN fingerprint_hash SET NOT NULL;
