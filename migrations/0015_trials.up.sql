-- Which devices have had their trial of which products, and under which license.

CREATE TABLE licet.trials (
    org_id           uuid        NOT NULL,
    -- SHA-256 of the device's fingerprint in base64url, as activations have it.
    fingerprint_hash text        NOT NULL,
    product_id       uuid        NOT NULL,
    license_id       uuid        NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    -- One each: of two that come at once, the later waits for the earlier and is refused.
    CONSTRAINT trials_pkey PRIMARY KEY (org_id, fingerprint_hash, product_id),
    CONSTRAINT trials_product_fkey FOREIGN KEY (org_id, product_id) REFERENCES licet.products (org_id, id),
    CONSTRAINT trials_license_fkey FOREIGN KEY (org_id, license_id) REFERENCES licet.licenses (org_id, id),
    CONSTRAINT trials_fingerprint_length CHECK (length(fingerprint_hash) = 43)
);

ALTER TABLE licet.trials ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.trials FORCE ROW LEVEL SECURITY;
CREATE POLICY trials_select ON licet.trials FOR SELECT TO licet_app USING (org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid);
CREATE POLICY trials_insert ON licet.trials FOR INSERT TO licet_app WITH CHECK (org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid);
CREATE POLICY trials_update ON licet.trials FOR UPDATE TO licet_app USING (false) WITH CHECK (false);
CREATE POLICY trials_delete ON licet.trials FOR DELETE TO licet_app USING (false);
GRANT SELECT, INSERT ON licet.trials TO licet_app;
