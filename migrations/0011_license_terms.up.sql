-- What a license has of its own, apart from what its policy gives.

ALTER TABLE licet.licenses
    -- Feature values in place of those of its feature set; null takes a feature away.
    ADD COLUMN features            jsonb   NOT NULL DEFAULT '{}',
    -- Whether max_activations was set for this license alone. It then stays when the license is
    -- transferred to another policy.
    ADD COLUMN own_max_activations boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT licenses_features_object CHECK (jsonb_typeof(features) = 'object'),
    -- Room for the greater length at which jsonb writes some numbers.
    ADD CONSTRAINT licenses_features_size CHECK (octet_length(features::text) <= 16384);

-- Nobody noted it so far: a number that differs from the policy's was most likely meant so. Forced
-- row-level security would hide the rows from a migrating role that is no superuser.
ALTER TABLE licet.licenses NO FORCE ROW LEVEL SECURITY;
ALTER TABLE licet.policies NO FORCE ROW LEVEL SECURITY;
UPDATE licet.licenses l SET own_max_activations = true
FROM licet.policies p
WHERE p.org_id = l.org_id AND p.id = l.policy_id AND p.max_activations <> l.max_activations;
ALTER TABLE licet.licenses FORCE ROW LEVEL SECURITY;
ALTER TABLE licet.policies FORCE ROW LEVEL SECURITY;

-- Who uses a feature set: asked before it is deleted, and by whoever is then refused.
CREATE INDEX licenses_feature_set ON licet.licenses (org_id, feature_set_id, id);
-- Everything that runs on one device.
CREATE INDEX activations_device ON licet.activations (org_id, fingerprint_hash, id);
