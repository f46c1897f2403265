-- Tenants: organizations, how to find them, their signing keys, and what happened in them.
-- README.md has the checklist for a new table.

-- The tenant of this transaction. STABLE: an IMMUTABLE one would be folded into a cached plan
-- and leak the tenant before. After a SET LOCAL has ended the setting is '', not unset.
CREATE FUNCTION licet.current_org_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid;

CREATE TABLE licet.organizations (
    org_id       uuid        NOT NULL,
    slug         text        NOT NULL,
    tag          text        NOT NULL,
    name         text        NOT NULL,
    plan         text        NOT NULL DEFAULT 'FREE',
    max_users    integer     NOT NULL DEFAULT 5,
    max_projects integer     NOT NULL DEFAULT 10,
    -- Counted up with each change of signing_keys: the version of the published key set.
    keys_version bigint      NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT organizations_pkey PRIMARY KEY (org_id),
    CONSTRAINT organizations_slug_form CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    CONSTRAINT organizations_tag_form CHECK (tag ~ '^[0-9A-HJKMNP-TV-Z]{8}$'),
    CONSTRAINT organizations_name_form CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT organizations_plan_known CHECK (plan IN ('FREE', 'PRO', 'ENTERPRISE')),
    CONSTRAINT organizations_quotas_positive CHECK (max_users > 0 AND max_projects > 0),
    CONSTRAINT organizations_keys_version_positive CHECK (keys_version > 0)
);

ALTER TABLE licet.organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY organizations_select ON licet.organizations FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY organizations_insert ON licet.organizations FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY organizations_update ON licet.organizations FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY organizations_delete ON licet.organizations FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.organizations TO licet_app;

-- Tag and slug are unique over all tenants, which no table distributed by org_id can say. This
-- one belongs to no tenant (a local table on Citus); nobody but the functions below reaches it.
CREATE TABLE licet.org_directory (
    tag    text NOT NULL,
    slug   text NOT NULL,
    org_id uuid NOT NULL,
    CONSTRAINT org_directory_pkey PRIMARY KEY (tag),
    CONSTRAINT org_directory_slug_key UNIQUE (slug),
    CONSTRAINT org_directory_org_id_key UNIQUE (org_id)
);

ALTER TABLE licet.org_directory ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.org_directory FORCE ROW LEVEL SECURITY;
CREATE POLICY org_directory_lookup ON licet.org_directory FOR SELECT TO licet_owner USING (true);
CREATE POLICY org_directory_register ON licet.org_directory FOR INSERT TO licet_owner WITH CHECK (org_id = licet.current_org_id());

CREATE FUNCTION licet.org_id_by_tag(wanted text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT d.org_id FROM licet.org_directory d WHERE d.tag = wanted $$;

CREATE FUNCTION licet.org_id_by_slug(wanted text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ SELECT d.org_id FROM licet.org_directory d WHERE d.slug = wanted $$;

-- Makes the current tenant findable; false when its tag or slug is taken.
CREATE FUNCTION licet.register_org(new_tag text, new_slug text) RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        WITH added AS (
            INSERT INTO licet.org_directory (tag, slug, org_id)
            VALUES (new_tag, new_slug, licet.current_org_id())
            ON CONFLICT DO NOTHING
            RETURNING 1
        )
        SELECT EXISTS (SELECT FROM added)
    $$;

REVOKE ALL ON FUNCTION licet.org_id_by_tag(text), licet.org_id_by_slug(text), licet.register_org(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION licet.current_org_id(), licet.org_id_by_tag(text), licet.org_id_by_slug(text), licet.register_org(text, text) TO licet_app;

CREATE TABLE licet.signing_keys (
    org_id      uuid        NOT NULL,
    -- The second half of the kid, <org tag>.<number>.
    number      integer     NOT NULL,
    public_key  bytea       NOT NULL,
    -- The private seed, sealed under the origin's master key.
    sealed_seed bytea       NOT NULL,
    state       text        NOT NULL DEFAULT 'ACTIVE',
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT signing_keys_pkey PRIMARY KEY (org_id, number),
    CONSTRAINT signing_keys_org_fkey FOREIGN KEY (org_id) REFERENCES licet.organizations (org_id),
    CONSTRAINT signing_keys_number_positive CHECK (number > 0),
    CONSTRAINT signing_keys_public_key_length CHECK (octet_length(public_key) = 32),
    CONSTRAINT signing_keys_state_known CHECK (state IN ('ACTIVE', 'VERIFY_ONLY', 'WITHDRAWN'))
);

ALTER TABLE licet.signing_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.signing_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY signing_keys_select ON licet.signing_keys FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY signing_keys_insert ON licet.signing_keys FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY signing_keys_update ON licet.signing_keys FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY signing_keys_delete ON licet.signing_keys FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE (state) ON licet.signing_keys TO licet_app;

-- Append-only: no grant to change or delete, and policies that would refuse it all the same.
-- No foreign key to organizations: every event would lock the one row that all share.
CREATE TABLE licet.audit_events (
    org_id      uuid        NOT NULL,
    id          uuid        NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    actor       text        NOT NULL,
    action      text        NOT NULL,
    subject     text        NOT NULL,
    request_id  text,
    details     jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT audit_events_pkey PRIMARY KEY (org_id, id)
);

CREATE INDEX audit_events_subject ON licet.audit_events (org_id, subject, id);

ALTER TABLE licet.audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.audit_events FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_events_select ON licet.audit_events FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY audit_events_insert ON licet.audit_events FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY audit_events_update ON licet.audit_events FOR UPDATE TO licet_app USING (false) WITH CHECK (false);
CREATE POLICY audit_events_delete ON licet.audit_events FOR DELETE TO licet_app USING (false);
GRANT SELECT, INSERT ON licet.audit_events TO licet_app;
