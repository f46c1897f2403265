DROP INDEX licet.audit_events_action;
DROP INDEX licet.audit_events_actor;
DROP INDEX licet.audit_events_subject;
CREATE INDEX audit_events_subject ON licet.audit_events (org_id, subject, id);

DROP POLICY audit_personal_system_delete ON licet.audit_personal;
DROP POLICY audit_personal_system_select ON licet.audit_personal;
DROP POLICY users_system_update ON licet.users;
DROP POLICY users_system_select ON licet.users;
DROP POLICY activations_system_update ON licet.activations;
DROP POLICY activations_system_select ON licet.activations;
DROP POLICY invitations_system_delete ON licet.invitations;
DROP POLICY invitations_system_select ON licet.invitations;
DROP POLICY sessions_system_delete ON licet.sessions;
DROP POLICY sessions_system_select ON licet.sessions;
DROP POLICY idempotency_keys_system_delete ON licet.idempotency_keys;
DROP POLICY idempotency_keys_system_select ON licet.idempotency_keys;
DROP POLICY audit_events_system_insert ON licet.audit_events;
DROP POLICY audit_heads_system_update ON licet.audit_heads;
DROP POLICY audit_heads_system_insert ON licet.audit_heads;
DROP POLICY audit_heads_system_select ON licet.audit_heads;
DROP POLICY licenses_system_update ON licet.licenses;
DROP POLICY licenses_system_select ON licet.licenses;
DROP POLICY organizations_system_select ON licet.organizations;

REVOKE ALL ON licet.activations, licet.audit_events, licet.audit_heads, licet.audit_personal, licet.idempotency_keys,
    licet.invitations, licet.licenses, licet.organizations, licet.sessions, licet.users FROM licet_system;
REVOKE ALL (org_id) ON licet.organizations FROM licet_system;
REVOKE ALL (org_id, id, status, expires_at, status_since) ON licet.licenses FROM licet_system;
REVOKE ALL (org_id, key, created_at) ON licet.idempotency_keys FROM licet_system;
REVOKE ALL (org_id, id, expires_at, ends_at, ended_at) ON licet.sessions FROM licet_system;
REVOKE ALL (org_id, id, expires_at, accepted_at, revoked_at) ON licet.invitations FROM licet_system;
REVOKE ALL (org_id, id, deactivated_at, name, metadata) ON licet.activations FROM licet_system;
REVOKE ALL (org_id, id, email, name, password_hash, license_id, version, updated_at, deleted_at, erased_at) ON licet.users FROM licet_system;
REVOKE ALL (org_id, user_id) ON licet.audit_personal FROM licet_system;
REVOKE ALL ON FUNCTION licet.current_org_id() FROM licet_system;

DROP INDEX licet.users_outworn;
DROP INDEX licet.activations_outworn;
DROP INDEX licet.sessions_outworn;
DROP INDEX licet.licenses_due;
ALTER TABLE licet.users DROP COLUMN erased_at;
