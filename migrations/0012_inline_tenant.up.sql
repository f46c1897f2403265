-- Policies name the tenant's setting themselves instead of calling licet.current_org_id(). Postgres
-- inlines a function written in SQL anew at each planning and for each policy: of a list, which is
-- planned each time, that took an eighth. The expression is as STABLE as the function was.

DO $$
DECLARE
    -- As it is printed, and what takes its place.
    helper CONSTANT text := 'licet.current_org_id()';
    inline CONSTANT text := $sql$nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid$sql$;
    outside CONSTANT text := pg_catalog.current_setting('search_path');
    item record;
BEGIN
    -- What an expression is printed with depends on the path: on this one all but Postgres's own
    -- has its schema.
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    FOR item IN
        SELECT p.polname, p.polrelid::regclass AS relation,
            replace(pg_get_expr(p.polqual, p.polrelid), helper, inline) AS qual,
            replace(pg_get_expr(p.polwithcheck, p.polrelid), helper, inline) AS with_check
        FROM pg_policy p
        WHERE EXISTS (SELECT FROM pg_depend d
            WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid
                AND d.refclassid = 'pg_proc'::regclass AND d.refobjid = helper::regprocedure)
            AND p.polrelid IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'licet'::regnamespace)
        ORDER BY p.polrelid, p.polname
    LOOP
        -- Command and roles stay, and so does a condition that the policy does not have.
        EXECUTE format('ALTER POLICY %I ON %s', item.polname, item.relation)
            || coalesce(' USING (' || item.qual || ')', '')
            || coalesce(' WITH CHECK (' || item.with_check || ')', '');
    END LOOP;
    PERFORM pg_catalog.set_config('search_path', outside, true);
END $$;
