-- What an organization sells: products, feature sets, and the policies that licenses follow.

CREATE TABLE licet.products (
    org_id     uuid        NOT NULL,
    id         uuid        NOT NULL,
    code       text        NOT NULL,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT products_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT products_code_key UNIQUE (org_id, code),
    CONSTRAINT products_org_fkey FOREIGN KEY (org_id) REFERENCES licet.organizations (org_id),
    CONSTRAINT products_code_form CHECK (code ~ '^[a-z0-9][a-z0-9_.-]{0,63}$'),
    CONSTRAINT products_name_form CHECK (length(name) BETWEEN 1 AND 200)
);

ALTER TABLE licet.products ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.products FORCE ROW LEVEL SECURITY;
CREATE POLICY products_select ON licet.products FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY products_insert ON licet.products FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY products_update ON licet.products FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY products_delete ON licet.products FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.products TO licet_app;

CREATE TABLE licet.feature_sets (
    org_id           uuid        NOT NULL,
    id               uuid        NOT NULL,
    name             text        NOT NULL,
    current_revision integer     NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT feature_sets_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT feature_sets_name_key UNIQUE (org_id, name),
    CONSTRAINT feature_sets_org_fkey FOREIGN KEY (org_id) REFERENCES licet.organizations (org_id),
    CONSTRAINT feature_sets_name_form CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT feature_sets_revision_positive CHECK (current_revision > 0)
);

ALTER TABLE licet.feature_sets ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.feature_sets FORCE ROW LEVEL SECURITY;
CREATE POLICY feature_sets_select ON licet.feature_sets FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY feature_sets_insert ON licet.feature_sets FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY feature_sets_update ON licet.feature_sets FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY feature_sets_delete ON licet.feature_sets FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.feature_sets TO licet_app;

-- A revision is never changed: a signed copy of it may be anywhere.
CREATE TABLE licet.feature_set_revisions (
    org_id         uuid        NOT NULL,
    feature_set_id uuid        NOT NULL,
    revision       integer     NOT NULL,
    features       jsonb       NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT feature_set_revisions_pkey PRIMARY KEY (org_id, feature_set_id, revision),
    CONSTRAINT feature_set_revisions_set_fkey FOREIGN KEY (org_id, feature_set_id) REFERENCES licet.feature_sets (org_id, id),
    CONSTRAINT feature_set_revisions_revision_positive CHECK (revision > 0),
    CONSTRAINT feature_set_revisions_features_object CHECK (jsonb_typeof(features) = 'object'),
    CONSTRAINT feature_set_revisions_features_size CHECK (octet_length(features::text) <= 65536)
);

ALTER TABLE licet.feature_set_revisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.feature_set_revisions FORCE ROW LEVEL SECURITY;
CREATE POLICY feature_set_revisions_select ON licet.feature_set_revisions FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY feature_set_revisions_insert ON licet.feature_set_revisions FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY feature_set_revisions_update ON licet.feature_set_revisions FOR UPDATE TO licet_app USING (false) WITH CHECK (false);
CREATE POLICY feature_set_revisions_delete ON licet.feature_set_revisions FOR DELETE TO licet_app USING (false);
GRANT SELECT, INSERT ON licet.feature_set_revisions TO licet_app;

CREATE TABLE licet.policies (
    org_id             uuid        NOT NULL,
    id                 uuid        NOT NULL,
    name               text        NOT NULL,
    tier               text        NOT NULL,
    feature_set_id     uuid        NOT NULL,
    max_activations    integer     NOT NULL,
    token_lifetime_s   integer     NOT NULL DEFAULT 86400,
    grace_s            integer     NOT NULL DEFAULT 604800,
    -- Life of a license from its issue; none ends where it is null.
    license_duration_s bigint,
    -- BOUND: a token counts on the device it was made for. FREE: on any.
    fingerprint_rule   text        NOT NULL DEFAULT 'BOUND',
    created_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT policies_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT policies_name_key UNIQUE (org_id, name),
    CONSTRAINT policies_feature_set_fkey FOREIGN KEY (org_id, feature_set_id) REFERENCES licet.feature_sets (org_id, id),
    CONSTRAINT policies_name_form CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT policies_tier_known CHECK (tier IN ('FREE', 'PRO', 'ENTERPRISE', 'TRIAL')),
    CONSTRAINT policies_max_activations_range CHECK (max_activations BETWEEN 1 AND 1000000),
    CONSTRAINT policies_token_lifetime_range CHECK (token_lifetime_s BETWEEN 60 AND 34560000),
    CONSTRAINT policies_grace_range CHECK (grace_s BETWEEN 0 AND 34560000),
    CONSTRAINT policies_license_duration_range CHECK (license_duration_s BETWEEN 1 AND 3155760000),
    CONSTRAINT policies_fingerprint_rule_known CHECK (fingerprint_rule IN ('BOUND', 'FREE'))
);

ALTER TABLE licet.policies ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.policies FORCE ROW LEVEL SECURITY;
CREATE POLICY policies_select ON licet.policies FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY policies_insert ON licet.policies FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY policies_update ON licet.policies FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY policies_delete ON licet.policies FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.policies TO licet_app;

-- The products that a license issued under the policy covers.
CREATE TABLE licet.policy_products (
    org_id     uuid NOT NULL,
    policy_id  uuid NOT NULL,
    product_id uuid NOT NULL,
    CONSTRAINT policy_products_pkey PRIMARY KEY (org_id, policy_id, product_id),
    CONSTRAINT policy_products_policy_fkey FOREIGN KEY (org_id, policy_id) REFERENCES licet.policies (org_id, id),
    CONSTRAINT policy_products_product_fkey FOREIGN KEY (org_id, product_id) REFERENCES licet.products (org_id, id)
);

ALTER TABLE licet.policy_products ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.policy_products FORCE ROW LEVEL SECURITY;
CREATE POLICY policy_products_select ON licet.policy_products FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY policy_products_insert ON licet.policy_products FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY policy_products_update ON licet.policy_products FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY policy_products_delete ON licet.policy_products FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, DELETE ON licet.policy_products TO licet_app;
