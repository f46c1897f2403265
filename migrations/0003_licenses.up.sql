-- What was sold, where it runs, and what the status lists say of it.

CREATE TABLE licet.licenses (
    org_id          uuid        NOT NULL,
    id              uuid        NOT NULL,
    -- SHA-256 of the license key's symbols; the key itself is nowhere.
    key_hash        bytea       NOT NULL,
    policy_id       uuid        NOT NULL,
    feature_set_id  uuid        NOT NULL,
    status          text        NOT NULL DEFAULT 'ACTIVE',
    max_activations integer     NOT NULL,
    expires_at      timestamptz,
    metadata        jsonb       NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    status_since    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT licenses_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT licenses_key_hash_key UNIQUE (org_id, key_hash),
    CONSTRAINT licenses_policy_fkey FOREIGN KEY (org_id, policy_id) REFERENCES licet.policies (org_id, id),
    CONSTRAINT licenses_feature_set_fkey FOREIGN KEY (org_id, feature_set_id) REFERENCES licet.feature_sets (org_id, id),
    CONSTRAINT licenses_key_hash_length CHECK (octet_length(key_hash) = 32),
    CONSTRAINT licenses_status_known CHECK (status IN ('ACTIVE', 'EXPIRED', 'SUSPENDED', 'REVOKED')),
    CONSTRAINT licenses_max_activations_range CHECK (max_activations BETWEEN 1 AND 1000000),
    CONSTRAINT licenses_metadata_object CHECK (jsonb_typeof(metadata) = 'object')
);

ALTER TABLE licet.licenses ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.licenses FORCE ROW LEVEL SECURITY;
CREATE POLICY licenses_select ON licet.licenses FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY licenses_insert ON licet.licenses FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY licenses_update ON licet.licenses FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY licenses_delete ON licet.licenses FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.licenses TO licet_app;

CREATE TABLE licet.license_products (
    org_id     uuid NOT NULL,
    license_id uuid NOT NULL,
    product_id uuid NOT NULL,
    CONSTRAINT license_products_pkey PRIMARY KEY (org_id, license_id, product_id),
    CONSTRAINT license_products_license_fkey FOREIGN KEY (org_id, license_id) REFERENCES licet.licenses (org_id, id),
    CONSTRAINT license_products_product_fkey FOREIGN KEY (org_id, product_id) REFERENCES licet.products (org_id, id)
);

ALTER TABLE licet.license_products ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.license_products FORCE ROW LEVEL SECURITY;
CREATE POLICY license_products_select ON licet.license_products FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY license_products_insert ON licet.license_products FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY license_products_update ON licet.license_products FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY license_products_delete ON licet.license_products FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, DELETE ON licet.license_products TO licet_app;

-- One row per status list. Its version counts every change of an entry that stands in a
-- token; a new entry begins as "valid", as the padding already says, and changes nothing.
CREATE TABLE licet.status_versions (
    org_id     uuid    NOT NULL,
    number     integer NOT NULL,
    version    bigint  NOT NULL DEFAULT 1,
    next_index integer NOT NULL DEFAULT 0,
    CONSTRAINT status_versions_pkey PRIMARY KEY (org_id, number),
    CONSTRAINT status_versions_org_fkey FOREIGN KEY (org_id) REFERENCES licet.organizations (org_id),
    CONSTRAINT status_versions_number_range CHECK (number >= 0),
    CONSTRAINT status_versions_version_positive CHECK (version > 0),
    CONSTRAINT status_versions_next_index_range CHECK (next_index BETWEEN 0 AND 131072)
);

ALTER TABLE licet.status_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.status_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY status_versions_select ON licet.status_versions FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY status_versions_insert ON licet.status_versions FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY status_versions_update ON licet.status_versions FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY status_versions_delete ON licet.status_versions FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.status_versions TO licet_app;

CREATE TABLE licet.activations (
    org_id           uuid        NOT NULL,
    id               uuid        NOT NULL,
    license_id       uuid        NOT NULL,
    -- SHA-256 of the device's fingerprint in base64url, as tokens carry it.
    fingerprint_hash text        NOT NULL,
    -- The entry in the organization's status lists. Never used again.
    status_list      integer     NOT NULL,
    status_index     integer     NOT NULL,
    name             text,
    metadata         jsonb,
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_seen_at     timestamptz NOT NULL DEFAULT now(),
    deactivated_at   timestamptz,
    CONSTRAINT activations_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT activations_status_key UNIQUE (org_id, status_list, status_index),
    CONSTRAINT activations_license_fkey FOREIGN KEY (org_id, license_id) REFERENCES licet.licenses (org_id, id),
    CONSTRAINT activations_status_list_fkey FOREIGN KEY (org_id, status_list) REFERENCES licet.status_versions (org_id, number),
    CONSTRAINT activations_fingerprint_length CHECK (length(fingerprint_hash) = 43),
    CONSTRAINT activations_status_index_range CHECK (status_index BETWEEN 0 AND 131071)
);

-- At most one live activation per license and device; also what a license's seats are counted by.
CREATE UNIQUE INDEX activations_live_key ON licet.activations (org_id, license_id, fingerprint_hash)
    WHERE deactivated_at IS NULL;
-- A license's entries, live or not, for its status change.
CREATE INDEX activations_license ON licet.activations (org_id, license_id);
-- The entries that stand in a list as deactivated.
CREATE INDEX activations_deactivated ON licet.activations (org_id, status_list)
    WHERE deactivated_at IS NOT NULL;
-- The licenses whose entries stand in lists as revoked or suspended.
CREATE INDEX licenses_withdrawn ON licet.licenses (org_id, id)
    WHERE status IN ('SUSPENDED', 'REVOKED');

ALTER TABLE licet.activations ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.activations FORCE ROW LEVEL SECURITY;
CREATE POLICY activations_select ON licet.activations FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY activations_insert ON licet.activations FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY activations_update ON licet.activations FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY activations_delete ON licet.activations FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.activations TO licet_app;
