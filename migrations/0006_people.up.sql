-- The people of an organization, the machines that act for it, and its projects.

-- version is what ETags are made of: each update counts it up.
ALTER TABLE licet.organizations
    ADD COLUMN max_licenses integer     NOT NULL DEFAULT 1000,
    ADD COLUMN settings     jsonb       NOT NULL DEFAULT '{}',
    ADD COLUMN version      integer     NOT NULL DEFAULT 1,
    ADD COLUMN updated_at   timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT organizations_max_licenses_positive CHECK (max_licenses > 0),
    ADD CONSTRAINT organizations_settings_object CHECK (jsonb_typeof(settings) = 'object'),
    ADD CONSTRAINT organizations_settings_size CHECK (octet_length(settings::text) <= 16384),
    ADD CONSTRAINT organizations_version_positive CHECK (version > 0);

-- What was deleted keeps its code or name, so that it can be restored and no token changes its meaning.
ALTER TABLE licet.products
    ADD COLUMN description text        NOT NULL DEFAULT '',
    ADD COLUMN version     integer     NOT NULL DEFAULT 1,
    ADD COLUMN updated_at  timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN deleted_at  timestamptz,
    ADD CONSTRAINT products_description_length CHECK (length(description) <= 2000),
    ADD CONSTRAINT products_version_positive CHECK (version > 0);
ALTER TABLE licet.feature_sets
    ADD COLUMN version    integer     NOT NULL DEFAULT 1,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN deleted_at timestamptz,
    ADD CONSTRAINT feature_sets_version_positive CHECK (version > 0);
ALTER TABLE licet.policies
    ADD COLUMN version    integer     NOT NULL DEFAULT 1,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN deleted_at timestamptz,
    ADD CONSTRAINT policies_version_positive CHECK (version > 0);
ALTER TABLE licet.licenses
    ADD COLUMN version    integer     NOT NULL DEFAULT 1,
    ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT licenses_version_positive CHECK (version > 0);

CREATE TABLE licet.users (
    org_id        uuid        NOT NULL,
    id            uuid        NOT NULL,
    -- Lower-cased and trimmed. Empty once the person has been erased.
    email         text        NOT NULL,
    name          text        NOT NULL,
    role          text        NOT NULL,
    -- Argon2id in PHC form.
    password_hash text        NOT NULL,
    license_id    uuid,
    version       integer     NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    last_login_at timestamptz,
    disabled_at   timestamptz,
    deleted_at    timestamptz,
    CONSTRAINT users_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT users_org_fkey FOREIGN KEY (org_id) REFERENCES licet.organizations (org_id),
    CONSTRAINT users_license_fkey FOREIGN KEY (org_id, license_id) REFERENCES licet.licenses (org_id, id),
    CONSTRAINT users_email_length CHECK (octet_length(email) <= 254),
    CONSTRAINT users_name_length CHECK (length(name) <= 200),
    CONSTRAINT users_role_known CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER', 'GUEST')),
    CONSTRAINT users_version_positive CHECK (version > 0)
);

CREATE UNIQUE INDEX users_live_email_key ON licet.users (org_id, email) WHERE deleted_at IS NULL;
-- The owners who count: at least one must stay.
CREATE INDEX users_owners ON licet.users (org_id, id)
    WHERE role = 'OWNER' AND disabled_at IS NULL AND deleted_at IS NULL;

ALTER TABLE licet.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.users FORCE ROW LEVEL SECURITY;
CREATE POLICY users_select ON licet.users FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY users_insert ON licet.users FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY users_update ON licet.users FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY users_delete ON licet.users FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.users TO licet_app;

-- Where a login leads: an e-mail to the organizations that know it. No tenant's (a local table on
-- Citus); nobody but the functions below reaches it.
CREATE TABLE licet.login_directory (
    email   text NOT NULL,
    org_id  uuid NOT NULL,
    user_id uuid NOT NULL,
    CONSTRAINT login_directory_pkey PRIMARY KEY (email, org_id),
    CONSTRAINT login_directory_user_key UNIQUE (org_id, user_id)
);

ALTER TABLE licet.login_directory ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.login_directory FORCE ROW LEVEL SECURITY;
CREATE POLICY login_directory_lookup ON licet.login_directory FOR SELECT TO licet_owner USING (true);
CREATE POLICY login_directory_enter ON licet.login_directory FOR INSERT TO licet_owner WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY login_directory_leave ON licet.login_directory FOR DELETE TO licet_owner USING (org_id = licet.current_org_id());

-- The organization and person that an e-mail logs in as: in the organization of that slug, or
-- without one in the oldest membership.
CREATE FUNCTION licet.find_login(wanted_email text, wanted_slug text, OUT org_id uuid, OUT user_id uuid) RETURNS record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT l.org_id, l.user_id FROM licet.login_directory l
        WHERE l.email = wanted_email AND (wanted_slug IS NULL OR l.org_id = (
            SELECT d.org_id FROM licet.org_directory d WHERE d.slug = wanted_slug))
        ORDER BY l.user_id LIMIT 1
    $$;

-- Lets a person of the current tenant log in; false when the e-mail is taken within it.
CREATE FUNCTION licet.enter_login(new_email text, new_user uuid) RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        WITH added AS (
            INSERT INTO licet.login_directory (email, org_id, user_id)
            VALUES (new_email, licet.current_org_id(), new_user)
            ON CONFLICT DO NOTHING
            RETURNING 1
        )
        SELECT EXISTS (SELECT FROM added)
    $$;

-- Ends a person's login in the current tenant.
CREATE FUNCTION licet.leave_login(old_user uuid) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$ DELETE FROM licet.login_directory l WHERE l.org_id = licet.current_org_id() AND l.user_id = old_user $$;

REVOKE ALL ON FUNCTION licet.find_login(text, text), licet.enter_login(text, uuid), licet.leave_login(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION licet.find_login(text, text), licet.enter_login(text, uuid), licet.leave_login(uuid) TO licet_app;

-- A session is a family of refresh tokens, of which the newest counts.
CREATE TABLE licet.sessions (
    org_id     uuid        NOT NULL,
    id         uuid        NOT NULL,
    user_id    uuid        NOT NULL,
    -- How often it was renewed, and SHA-256 of the newest refresh token.
    generation integer     NOT NULL DEFAULT 0,
    token_hash bytea       NOT NULL,
    renewed_at timestamptz NOT NULL,
    -- End unless it is renewed, and end whatever happens.
    expires_at timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at   timestamptz,
    ended_why  text,
    CONSTRAINT sessions_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT sessions_user_fkey FOREIGN KEY (org_id, user_id) REFERENCES licet.users (org_id, id),
    CONSTRAINT sessions_generation_range CHECK (generation >= 0),
    CONSTRAINT sessions_token_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT sessions_ended_why_known CHECK (ended_why IN ('LOGOUT', 'ENDED', 'REUSED', 'PASSWORD', 'DISABLED', 'REMOVED')),
    CONSTRAINT sessions_ended_both CHECK ((ended_at IS NULL) = (ended_why IS NULL))
);

CREATE INDEX sessions_user ON licet.sessions (org_id, user_id, id) WHERE ended_at IS NULL;

ALTER TABLE licet.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY sessions_select ON licet.sessions FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY sessions_insert ON licet.sessions FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY sessions_update ON licet.sessions FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY sessions_delete ON licet.sessions FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON licet.sessions TO licet_app;

CREATE TABLE licet.invitations (
    org_id      uuid        NOT NULL,
    id          uuid        NOT NULL,
    email       text        NOT NULL,
    role        text        NOT NULL,
    -- SHA-256 of the invitation's token.
    token_hash  bytea       NOT NULL,
    invited_by  text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    accepted_at timestamptz,
    revoked_at  timestamptz,
    CONSTRAINT invitations_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT invitations_token_hash_key UNIQUE (org_id, token_hash),
    CONSTRAINT invitations_org_fkey FOREIGN KEY (org_id) REFERENCES licet.organizations (org_id),
    CONSTRAINT invitations_email_length CHECK (octet_length(email) <= 254),
    CONSTRAINT invitations_role_known CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER', 'GUEST')),
    CONSTRAINT invitations_token_hash_length CHECK (octet_length(token_hash) = 32)
);

-- One open invitation per e-mail: a new one takes the place of the old.
CREATE UNIQUE INDEX invitations_open_key ON licet.invitations (org_id, email)
    WHERE accepted_at IS NULL AND revoked_at IS NULL;

ALTER TABLE licet.invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.invitations FORCE ROW LEVEL SECURITY;
CREATE POLICY invitations_select ON licet.invitations FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY invitations_insert ON licet.invitations FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY invitations_update ON licet.invitations FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY invitations_delete ON licet.invitations FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON licet.invitations TO licet_app;

CREATE TABLE licet.api_keys (
    org_id       uuid        NOT NULL,
    id           uuid        NOT NULL,
    name         text        NOT NULL,
    -- Its last symbols, by which people tell keys apart.
    hint         text        NOT NULL,
    -- SHA-256 of the key; the key itself is nowhere.
    key_hash     bytea       NOT NULL,
    scopes       text[]      NOT NULL,
    created_by   text        NOT NULL,
    version      integer     NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT api_keys_key_hash_key UNIQUE (org_id, key_hash),
    CONSTRAINT api_keys_org_fkey FOREIGN KEY (org_id) REFERENCES licet.organizations (org_id),
    CONSTRAINT api_keys_name_form CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT api_keys_hint_length CHECK (length(hint) <= 8),
    CONSTRAINT api_keys_key_hash_length CHECK (octet_length(key_hash) = 32),
    CONSTRAINT api_keys_scopes_some CHECK (cardinality(scopes) BETWEEN 1 AND 64),
    CONSTRAINT api_keys_version_positive CHECK (version > 0)
);

ALTER TABLE licet.api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY api_keys_select ON licet.api_keys FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY api_keys_insert ON licet.api_keys FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY api_keys_update ON licet.api_keys FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY api_keys_delete ON licet.api_keys FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.api_keys TO licet_app;

CREATE TABLE licet.projects (
    org_id      uuid        NOT NULL,
    id          uuid        NOT NULL,
    name        text        NOT NULL,
    description text        NOT NULL DEFAULT '',
    status      text        NOT NULL DEFAULT 'ACTIVE',
    metadata    jsonb       NOT NULL DEFAULT '{}',
    version     integer     NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT projects_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT projects_name_key UNIQUE (org_id, name),
    CONSTRAINT projects_org_fkey FOREIGN KEY (org_id) REFERENCES licet.organizations (org_id),
    CONSTRAINT projects_name_form CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT projects_description_length CHECK (length(description) <= 2000),
    CONSTRAINT projects_status_known CHECK (status IN ('ACTIVE', 'ARCHIVED', 'DELETED')),
    CONSTRAINT projects_metadata_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT projects_metadata_size CHECK (octet_length(metadata::text) <= 16384),
    CONSTRAINT projects_version_positive CHECK (version > 0)
);

ALTER TABLE licet.projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.projects FORCE ROW LEVEL SECURITY;
CREATE POLICY projects_select ON licet.projects FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY projects_insert ON licet.projects FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY projects_update ON licet.projects FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY projects_delete ON licet.projects FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.projects TO licet_app;

-- What a repeated request to the account API is answered from: ids of what it made.
ALTER TABLE licet.idempotency_keys
    ADD COLUMN made jsonb,
    ADD CONSTRAINT idempotency_keys_made_size CHECK (octet_length(made::text) <= 65536);
