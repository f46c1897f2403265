-- The revocation feed: which signed documents have changed, of all organizations.

-- How far changes have come. The id of a transaction is its place in the order of changes (its
-- epoch). A snapshot shows all that was done by transactions below its xmin, and a later one what
-- was under way then: who has read up to one epoch and asks for all above it misses nothing.
CREATE FUNCTION licet.epoch() RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint - 1;

-- The newest version of each document that ever had more than one. It belongs to no tenant, for
-- edges serve all of them (a local table on Citus); nobody but the functions below reaches it.
CREATE TABLE licet.published (
    org_id  uuid   NOT NULL,
    kind    text   NOT NULL,
    -- A status list's number, a feature set's id; empty for keys.
    name    text   NOT NULL,
    version bigint NOT NULL,
    -- The transaction that changed it last.
    epoch   bigint NOT NULL,
    CONSTRAINT published_pkey PRIMARY KEY (org_id, kind, name),
    CONSTRAINT published_kind_known CHECK (kind IN ('KEYS', 'STATUS_LIST', 'FEATURE_SET'))
);
CREATE INDEX published_epoch ON licet.published (epoch);

DO $$
DECLARE
    tenant CONSTANT text := $sql$org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid$sql$;
BEGIN
    ALTER TABLE licet.published ENABLE ROW LEVEL SECURITY;
    ALTER TABLE licet.published FORCE ROW LEVEL SECURITY;
    CREATE POLICY published_read ON licet.published FOR SELECT TO licet_owner USING (true);
    EXECUTE format('CREATE POLICY published_note ON licet.published FOR INSERT TO licet_owner WITH CHECK (%s)', tenant);
    EXECUTE format('CREATE POLICY published_change ON licet.published FOR UPDATE TO licet_owner USING (%s) WITH CHECK (%s)', tenant, tenant);
END $$;

-- Another number for each time that the database was put back to an earlier state, for epochs may
-- then be given out again.
CREATE SEQUENCE licet.feed_generation;
GRANT SELECT, UPDATE ON SEQUENCE licet.feed_generation TO licet_app;

-- Notes the newest version of a document of the current tenant, in the transaction that makes it so.
-- Not a trigger, which no table distributed by org_id may have.
CREATE FUNCTION licet.note_published(what text, which text, newest bigint) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        INSERT INTO licet.published (org_id, kind, name, version, epoch)
        VALUES (nullif(current_setting('licet.org_id', true), '')::uuid, what, which, newest,
            pg_current_xact_id()::text::bigint)
        ON CONFLICT (org_id, kind, name) DO UPDATE SET version = excluded.version, epoch = excluded.epoch
    $$;

-- What has changed in transactions after this one, the newest first.
CREATE FUNCTION licet.published_since(since bigint, most integer)
    RETURNS TABLE (epoch bigint, tag text, kind text, name text, version bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT p.epoch, d.tag, p.kind, p.name, p.version
        FROM licet.published p
        JOIN licet.org_directory d ON d.org_id = p.org_id
        WHERE p.epoch > since
        ORDER BY p.epoch DESC
        LIMIT most
    $$;

REVOKE ALL ON FUNCTION licet.epoch(), licet.note_published(text, text, bigint),
    licet.published_since(bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION licet.epoch(), licet.note_published(text, text, bigint),
    licet.published_since(bigint, integer) TO licet_app;
