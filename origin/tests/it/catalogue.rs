//! What must hold of every table, asked of the catalogue: a new table can't be forgotten.

use tokio_postgres::Client;

use super::support::{TestDatabase, sql::connect};

/// Tables that are no tenant's. Nobody but their owner's functions may touch them.
const NO_TENANTS: [&str; 4] = [
    "login_directory",
    "org_directory",
    "published",
    "schema_migrations",
];

/// Every function that acts with its owner's rights, and what for. A new one is added here
/// only after a second look.
const DEFINERS: [&str; 8] = [
    "licet.enter_login(text,uuid)",
    "licet.find_login(text,text)",
    "licet.leave_login(uuid)",
    "licet.note_published(text,text,bigint)",
    "licet.org_id_by_slug(text)",
    "licet.org_id_by_tag(text)",
    "licet.published_since(bigint,integer)",
    "licet.register_org(text,text)",
];

/// The tenant in a policy, as one writes it, and the comparison as Postgres prints it. In place of
/// `$tenant` below.
const TENANT: &str = "org_id = nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid";
const TENANT_PRINTED: &str =
    "(org_id = (NULLIF(current_setting('licet.org_id'::text, true), ''::text))::uuid)";

/// Each query finds what breaks a rule.
const RULES: &[(&str, &str)] = &[
    (
        "row-level security is enabled and forced",
        "SELECT c.relname FROM tables c WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    ),
    (
        "there is exactly one policy per command, permissive and for licet_app alone; others are licet_system's alone",
        "SELECT c.relname || ' ' || cmd FROM tables c
         CROSS JOIN unnest(ARRAY['r', 'a', 'w', 'd']) AS cmd
         WHERE (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd::text = cmd
                AND p.polpermissive AND p.polroles = ARRAY['licet_app'::regrole::oid]) <> 1
         UNION ALL
         SELECT c.relname || ' ' || p.polname FROM tables c JOIN pg_policy p ON p.polrelid = c.oid
         WHERE p.polcmd = '*' OR NOT p.polpermissive
             OR p.polroles NOT IN (ARRAY['licet_app'::regrole::oid], ARRAY['licet_system'::regrole::oid])",
    ),
    (
        "policies of licet_app compare org_id with the tenant's setting, as migrations/README.md writes it, or refuse; nothing else, so no subquery either",
        "SELECT c.relname || ' ' || p.polname FROM tables c JOIN pg_policy p ON p.polrelid = c.oid
             AND p.polroles <> ARRAY['licet_system'::regrole::oid]
         CROSS JOIN unnest(ARRAY[pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)]) AS e
         WHERE e IS NOT NULL AND e NOT IN ($tenant, 'false')
            OR p.polcmd IN ('a', 'w') AND p.polwithcheck IS NULL
            OR p.polcmd IN ('r', 'w', 'd') AND p.polqual IS NULL",
    ),
    (
        "what is no tenant's is looked up, but written by the current tenant alone",
        "SELECT c.relname || ' ' || p.polname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid
         CROSS JOIN unnest(ARRAY[pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)]) AS e
         WHERE c.relnamespace = 'licet'::regnamespace AND p.polroles = ARRAY['licet_owner'::regrole::oid]
             AND p.polcmd <> 'r' AND e <> $tenant",
    ),
    (
        "its policies call no function written in SQL, which would be inlined anew at each planning (migrations/README.md has the expression for the tenant)",
        // What they call stands in their trees: pg_depend does not know Postgres's own functions.
        "SELECT DISTINCT p.polrelid::regclass || ' ' || p.polname || ' ' || f.oid::regprocedure
         FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid AND c.relnamespace = 'licet'::regnamespace
         CROSS JOIN regexp_matches(concat(p.polqual, p.polwithcheck), ':(?:op)?funcid ([0-9]+)', 'g') AS called (id)
         JOIN pg_proc f ON f.oid = called.id[1]::oid
         JOIN pg_language l ON l.oid = f.prolang AND l.lanname = 'sql'",
    ),
    (
        "the primary key begins with org_id",
        "SELECT c.relname FROM tables c
         LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
         WHERE a.attname IS DISTINCT FROM 'org_id'",
    ),
    (
        "org_id is a uuid and never null",
        "SELECT c.relname FROM tables c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id'
         WHERE NOT a.attnotnull OR a.atttypid <> 'uuid'::regtype",
    ),
    (
        "every unique index contains org_id",
        "SELECT i.indexrelid::regclass::text FROM tables c JOIN pg_index i ON i.indrelid = c.oid
         WHERE i.indisunique AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid
             AND a.attname = 'org_id' AND a.attnum = ANY (i.indkey))",
    ),
    (
        "every foreign key leads from org_id to org_id",
        "SELECT k.conname FROM tables c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'f'
         WHERE NOT EXISTS (
             SELECT FROM generate_subscripts(k.conkey, 1) AS n
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[n] AND a.attname = 'org_id'
             JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[n] AND b.attname = 'org_id')",
    ),
    (
        "constraints have names of our own",
        "SELECT k.conname FROM tables c JOIN pg_constraint k ON k.conrelid = c.oid
         WHERE k.contype IN ('p', 'u', 'f', 'c', 'x')
             AND (k.conname ~ '_(check|fkey|key)[0-9]+$' OR k.conname ~ '_check$')",
    ),
    (
        "nobody but the owner may TRUNCATE, REFERENCE or add triggers",
        "SELECT c.relname || ' ' || role || ' ' || privilege FROM tables c
         CROSS JOIN unnest(ARRAY['licet_app', 'licet_system']) AS role
         CROSS JOIN unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
         WHERE has_table_privilege(role, c.oid, privilege)",
    ),
    (
        "licet_system has no rights without policies, and no policies without rights",
        "SELECT c.relname || ' ' || r.name FROM tables c
         CROSS JOIN (VALUES ('SELECT', 'r'), ('INSERT', 'a'), ('UPDATE', 'w'), ('DELETE', 'd')) AS r (name, cmd)
         WHERE (has_table_privilege('licet_system', c.oid, r.name)
                OR r.cmd <> 'd' AND has_any_column_privilege('licet_system', c.oid, r.name))
             <> EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd::text = r.cmd
                 AND p.polroles = ARRAY['licet_system'::regrole::oid])",
    ),
    (
        "licet_system reaches one tenant at a time, save where it looks for work, and its policies have no subquery",
        "SELECT c.relname || ' ' || p.polname FROM tables c JOIN pg_policy p ON p.polrelid = c.oid
             AND p.polroles = ARRAY['licet_system'::regrole::oid]
         CROSS JOIN unnest(ARRAY[pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)]) AS e
         WHERE e ~* 'select'
             OR (p.polcmd <> 'r' OR p.polname NOT IN ('licenses_system_select', 'organizations_system_select'))
                 AND e <> $tenant AND NOT starts_with(e, '(' || $tenant || ' AND ')
             OR p.polcmd IN ('a', 'w') AND p.polwithcheck IS NULL
             OR p.polcmd IN ('r', 'w', 'd') AND p.polqual IS NULL",
    ),
    (
        "Citus can distribute it: no triggers, no identity or serial columns, no exclusion constraints, no inheritance",
        "SELECT c.relname FROM tables c WHERE
             EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
             OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity <> '')
             OR EXISTS (SELECT FROM pg_attrdef d WHERE d.adrelid = c.oid AND pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval%')
             OR EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'x')
             OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)",
    ),
    (
        "everything in the schema belongs to licet_owner",
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'licet'::regnamespace
             AND c.relowner <> 'licet_owner'::regrole
         UNION ALL
         SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'licet'::regnamespace
             AND p.proowner <> 'licet_owner'::regrole
         UNION ALL
         SELECT nspname FROM pg_namespace WHERE nspname = 'licet' AND nspowner <> 'licet_owner'::regrole",
    ),
    (
        "PUBLIC has no rights in the schema",
        "SELECT 'schema' FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'licet' AND a.grantee = 0
         UNION ALL
         SELECT c.relname FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.relnamespace = 'licet'::regnamespace AND a.grantee = 0
         UNION ALL
         SELECT p.proname FROM pg_proc p,
             aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         WHERE p.pronamespace = 'licet'::regnamespace AND a.grantee = 0",
    ),
    (
        "functions that act with their owner's rights pin their search path and are licet_app's alone",
        "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'licet'::regnamespace AND p.prosecdef
             AND (p.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']
                  OR EXISTS (SELECT FROM aclexplode(p.proacl) a
                      WHERE a.grantee NOT IN ('licet_app'::regrole, 'licet_owner'::regrole))
                  OR NOT has_function_privilege('licet_app', p.oid, 'EXECUTE'))",
    ),
    (
        "the function for the tenant is STABLE and acts with the caller's rights",
        "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'licet'::regnamespace
             AND p.proname = 'current_org_id' AND (p.provolatile <> 's' OR p.prosecdef)",
    ),
    (
        "views see with the rights of whoever asks",
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'licet'::regnamespace AND c.relkind IN ('v', 'm')
             AND NOT coalesce(c.reloptions @> ARRAY['security_invoker=true'], false)",
    ),
    (
        "licet_app has none of the rights that go around policies",
        "SELECT rolname::text FROM pg_roles WHERE rolname IN ('licet_app', 'licet_system', 'licet_owner')
             AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)
         UNION ALL
         SELECT r.rolname::text FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
         WHERE r.rolname IN ('licet_app', 'licet_system')
         UNION ALL
         SELECT 'licet_owner logs in' FROM pg_roles WHERE rolname = 'licet_owner' AND rolcanlogin
         UNION ALL
         SELECT 'may create in the schema' WHERE has_schema_privilege('licet_app', 'licet', 'CREATE')",
    ),
];

/// A text as SQL has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What breaks the rules, if anything does.
async fn broken(client: &Client) -> Vec<String> {
    let exempt = NO_TENANTS.map(|name| format!("'{name}'")).join(", ");
    let mut found = Vec::new();
    for (rule, query) in RULES {
        let sql = format!(
            "WITH tables AS (SELECT c.* FROM pg_class c
                 WHERE c.relnamespace = 'licet'::regnamespace AND c.relkind IN ('r', 'p', 'f')
                     AND c.relname NOT IN ({exempt}))
             SELECT broken.what::text FROM ({query}) AS broken (what)"
        )
        .replace("$tenant", &quoted(TENANT_PRINTED));
        let rows = client
            .query(&sql, &[])
            .await
            .unwrap_or_else(|error| panic!("{rule}: {error:?}"));
        found.extend(
            rows.iter()
                .map(|row| format!("{}: {rule}", row.get::<_, String>(0))),
        );
    }
    found
}

#[tokio::test]
async fn every_table_keeps_every_rule() {
    let database = TestDatabase::migrated();
    let client = connect(&database.admin_url()).await;
    assert_eq!(broken(&client).await, Vec::<String>::new());
    let tables = database.admin(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'licet'::regnamespace AND relkind = 'r'",
    );
    assert_eq!(
        tables[0][0].as_deref(),
        Some("29"),
        "count the new table in, once it keeps the rules"
    );
}

/// A check that finds nothing may simply not look: each of these has one thing wrong.
#[tokio::test]
async fn every_rule_notices_what_breaks_it() {
    let good = "CREATE TABLE licet.extra (org_id uuid NOT NULL, id uuid NOT NULL, other uuid,
            CONSTRAINT extra_pkey PRIMARY KEY (org_id, id));
        ALTER TABLE licet.extra OWNER TO licet_owner;
        ALTER TABLE licet.extra ENABLE ROW LEVEL SECURITY;
        ALTER TABLE licet.extra FORCE ROW LEVEL SECURITY;
        CREATE POLICY s ON licet.extra FOR SELECT TO licet_app USING ($tenant);
        CREATE POLICY i ON licet.extra FOR INSERT TO licet_app WITH CHECK ($tenant);
        CREATE POLICY u ON licet.extra FOR UPDATE TO licet_app USING ($tenant) WITH CHECK ($tenant);
        CREATE POLICY d ON licet.extra FOR DELETE TO licet_app USING ($tenant);"
        .replace("$tenant", TENANT);
    let faults = [
        "CREATE TABLE licet.bare (org_id uuid NOT NULL, id uuid NOT NULL, CONSTRAINT bare_pkey PRIMARY KEY (org_id, id))",
        "ALTER TABLE licet.extra NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE licet.extra DISABLE ROW LEVEL SECURITY",
        "DROP POLICY d ON licet.extra",
        "CREATE POLICY more ON licet.extra FOR SELECT TO licet_app USING (true)",
        "CREATE POLICY more ON licet.extra TO licet_system USING (true)",
        "CREATE POLICY more ON licet.extra FOR SELECT TO licet_system USING (true)",
        "GRANT SELECT (id) ON licet.extra TO licet_system",
        "GRANT DELETE ON licet.extra TO licet_system; CREATE POLICY more ON licet.extra FOR DELETE TO licet_system USING (id IS NOT NULL)",
        "GRANT DELETE ON licet.extra TO licet_system; CREATE POLICY more ON licet.extra FOR DELETE TO licet_system USING ($tenant OR true)",
        "GRANT DELETE ON licet.extra TO licet_system; CREATE POLICY more ON licet.extra FOR DELETE TO licet_system USING ($tenant AND id IS NOT NULL OR true)",
        "GRANT SELECT ON licet.extra TO licet_system; CREATE POLICY more ON licet.extra FOR SELECT TO licet_system USING (id IS NOT NULL)",
        "GRANT SELECT ON licet.extra TO licet_system; CREATE POLICY more ON licet.extra FOR SELECT TO licet_system USING ($tenant AND id <> licet.current_org_id())",
        "GRANT DELETE ON licet.extra TO licet_system; CREATE POLICY more ON licet.extra FOR DELETE TO licet_system USING ($tenant AND age(now()) > '1 day')",
        "GRANT SELECT ON licet.extra TO licet_system; CREATE POLICY more ON licet.extra FOR SELECT TO licet_system USING (id IN (SELECT id FROM licet.products))",
        "ALTER POLICY s ON licet.extra USING (org_id = (SELECT nullif(pg_catalog.current_setting('licet.org_id', true), '')::uuid))",
        "ALTER POLICY s ON licet.extra USING (org_id = licet.current_org_id())",
        "ALTER POLICY s ON licet.extra USING (org_id = current_setting('licet.org_id', true)::uuid)",
        "ALTER POLICY s ON licet.extra TO PUBLIC",
        "ALTER POLICY org_directory_register ON licet.org_directory WITH CHECK (true)",
        "ALTER POLICY login_directory_leave ON licet.login_directory USING (org_id = licet.current_org_id())",
        "ALTER POLICY u ON licet.extra WITH CHECK (true)",
        "ALTER TABLE licet.extra DROP CONSTRAINT extra_pkey, ADD CONSTRAINT extra_pkey PRIMARY KEY (id, org_id)",
        "CREATE UNIQUE INDEX ON licet.extra (other)",
        "ALTER TABLE licet.extra ADD CONSTRAINT extra_x_fkey FOREIGN KEY (org_id, other) REFERENCES licet.extra (org_id, id), ADD CONSTRAINT extra_u UNIQUE (other), ADD CONSTRAINT extra_y_fkey FOREIGN KEY (other) REFERENCES licet.extra (other)",
        "ALTER TABLE licet.extra ADD CHECK (other IS NOT NULL)",
        "ALTER TABLE licet.extra DROP CONSTRAINT extra_pkey, ALTER COLUMN org_id DROP NOT NULL, ADD CONSTRAINT extra_pkey PRIMARY KEY (id)",
        "GRANT TRUNCATE ON licet.extra TO licet_app",
        "GRANT SELECT ON licet.extra TO licet_system",
        "GRANT SELECT ON licet.extra TO PUBLIC",
        "ALTER TABLE licet.extra OWNER TO postgres",
        "ALTER TABLE licet.extra ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY",
        "CREATE VIEW licet.peek AS SELECT * FROM licet.extra; ALTER VIEW licet.peek OWNER TO licet_owner",
        "ALTER FUNCTION licet.org_id_by_tag(text) RESET search_path",
        "GRANT EXECUTE ON FUNCTION licet.org_id_by_tag(text) TO licet_system",
        "GRANT EXECUTE ON FUNCTION licet.org_id_by_tag(text) TO PUBLIC",
        "ALTER FUNCTION licet.current_org_id() IMMUTABLE",
        "GRANT CREATE ON SCHEMA licet TO licet_app",
    ];
    let database = TestDatabase::migrated();
    let client = connect(&database.admin_url()).await;
    client.batch_execute(&good).await.unwrap();
    assert_eq!(broken(&client).await, Vec::<String>::new());
    for fault in faults {
        let fault = &fault.replace("$tenant", TENANT);
        client.batch_execute("BEGIN").await.unwrap();
        client
            .batch_execute(fault)
            .await
            .unwrap_or_else(|error| panic!("{fault}: {error:?}"));
        assert_ne!(broken(&client).await, Vec::<String>::new(), "{fault}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[test]
fn functions_that_act_with_their_owners_rights_are_on_the_list() {
    let database = TestDatabase::migrated();
    let found: Vec<String> = database
        .admin("SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'licet'::regnamespace AND prosecdef ORDER BY 1")
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert_eq!(found, DEFINERS);
}

#[test]
fn what_is_no_tenants_is_out_of_reach() {
    let database = TestDatabase::migrated();
    let rights = database.admin(
        "SELECT t || ' ' || role || ' ' || p FROM unnest(ARRAY['licet.login_directory', 'licet.org_directory', 'licet.schema_migrations']) AS t
         CROSS JOIN unnest(ARRAY['licet_app', 'licet_system']) AS role
         CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p
         WHERE has_table_privilege(role, t, p) ORDER BY 1",
    );
    let rights: Vec<_> = rights.into_iter().flatten().flatten().collect();
    assert_eq!(
        rights,
        [
            "licet.schema_migrations licet_app SELECT",
            "licet.schema_migrations licet_system SELECT"
        ]
    );
}
