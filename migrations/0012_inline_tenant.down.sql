DO $$
DECLARE
    -- As it is printed (see below), and what takes its place.
    inline CONSTANT text := $sql$(NULLIF(current_setting('licet.org_id'::text, true), ''::text))::uuid$sql$;
    helper CONSTANT text := 'licet.current_org_id()';
    outside CONSTANT text := pg_catalog.current_setting('search_path');
    item record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    FOR item IN
        SELECT p.polname, p.polrelid::regclass AS relation,
            replace(pg_get_expr(p.polqual, p.polrelid), inline, helper) AS qual,
            replace(pg_get_expr(p.polwithcheck, p.polrelid), inline, helper) AS with_check
        FROM pg_policy p
        WHERE strpos(concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)), inline) > 0
            AND p.polrelid IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'licet'::regnamespace)
        ORDER BY p.polrelid, p.polname
    LOOP
        EXECUTE format('ALTER POLICY %I ON %s', item.polname, item.relation)
            || coalesce(' USING (' || item.qual || ')', '')
            || coalesce(' WITH CHECK (' || item.with_check || ')', '');
    END LOOP;
    PERFORM pg_catalog.set_config('search_path', outside, true);
END $$;
