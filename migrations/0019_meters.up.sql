-- Licenses whose terms reach devices at once, and features that are used up.

-- Counted up with each change of what tokens say of a license; above any that was lost to a
-- restore, like the versions of status lists.
ALTER TABLE licet.licenses ADD COLUMN state_version bigint NOT NULL DEFAULT 1;
ALTER TABLE licet.licenses ADD CONSTRAINT licenses_state_version_positive CHECK (state_version > 0);

-- The version in which an entry was last marked as changed. Tokens and license documents tell which
-- version they were made from, and so whether they show the change.
ALTER TABLE licet.status_versions ADD COLUMN changed_version bigint NOT NULL DEFAULT 0;

-- The longest time for which any token made under a policy may count, grace included: as long
-- lists say of a changed license that it is.
ALTER TABLE licet.policies ADD COLUMN token_reach_s bigint NOT NULL DEFAULT 0;

-- Which lists say of which licenses that they have changed since some of their tokens were made.
CREATE TABLE licet.license_changes (
    org_id      uuid        NOT NULL,
    status_list integer     NOT NULL,
    license_id  uuid        NOT NULL,
    -- When no token from before the change counts any more.
    until       timestamptz NOT NULL,
    CONSTRAINT license_changes_pkey PRIMARY KEY (org_id, status_list, license_id),
    CONSTRAINT license_changes_list_fkey FOREIGN KEY (org_id, status_list) REFERENCES licet.status_versions (org_id, number),
    CONSTRAINT license_changes_license_fkey FOREIGN KEY (org_id, license_id) REFERENCES licet.licenses (org_id, id)
);
CREATE INDEX license_changes_outworn ON licet.license_changes (org_id, until);

-- What licenses have used of their metered features, a row for each period.
CREATE TABLE licet.usage (
    org_id       uuid        NOT NULL,
    license_id   uuid        NOT NULL,
    feature      text        NOT NULL,
    period       text        NOT NULL,
    period_start timestamptz NOT NULL,
    used         bigint      NOT NULL,
    -- What might be used when it last was.
    quota        bigint      NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT usage_pkey PRIMARY KEY (org_id, license_id, feature, period, period_start),
    CONSTRAINT usage_license_fkey FOREIGN KEY (org_id, license_id) REFERENCES licet.licenses (org_id, id),
    CONSTRAINT usage_period_known CHECK (period IN ('day', 'month', 'year', 'once')),
    CONSTRAINT usage_feature_length CHECK (length(feature) BETWEEN 1 AND 1024),
    CONSTRAINT usage_used_range CHECK (used BETWEEN 0 AND 9007199254740991),
    CONSTRAINT usage_quota_range CHECK (quota BETWEEN 0 AND 9007199254740991)
);

DO $$
DECLARE
    tenant CONSTANT text := $sql$org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid$sql$;
    item text;
BEGIN
    FOREACH item IN ARRAY ARRAY['license_changes', 'usage'] LOOP
        EXECUTE format('ALTER TABLE licet.%I ENABLE ROW LEVEL SECURITY', item);
        EXECUTE format('ALTER TABLE licet.%I FORCE ROW LEVEL SECURITY', item);
        EXECUTE format('CREATE POLICY %I ON licet.%I FOR SELECT TO licet_app USING (%s)', item || '_select', item, tenant);
        EXECUTE format('CREATE POLICY %I ON licet.%I FOR INSERT TO licet_app WITH CHECK (%s)', item || '_insert', item, tenant);
        EXECUTE format('CREATE POLICY %I ON licet.%I FOR UPDATE TO licet_app USING (%s) WITH CHECK (%s)', item || '_update', item, tenant, tenant);
        EXECUTE format('CREATE POLICY %I ON licet.%I FOR DELETE TO licet_app USING (%s)', item || '_delete', item, tenant);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON licet.license_changes TO licet_app;
GRANT SELECT, INSERT, UPDATE ON licet.usage TO licet_app;
