DROP TABLE licet.audit_events;
DROP TABLE licet.signing_keys;
DROP FUNCTION licet.register_org(text, text);
DROP FUNCTION licet.org_id_by_slug(text);
DROP FUNCTION licet.org_id_by_tag(text);
DROP TABLE licet.org_directory;
DROP TABLE licet.organizations;
DROP FUNCTION licet.current_org_id();
