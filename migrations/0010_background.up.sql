-- Background work, erasure of people, and reading the audit trail.

-- What licet_system may do is said twice, by its grants and by its policies: not even a wrong
-- statement of a job could end a license that still runs, or drop what has to be kept. Writing
-- needs a tenant like everybody's; only what is due is seen across tenants, to find the work.
GRANT EXECUTE ON FUNCTION licet.current_org_id() TO licet_system;

GRANT SELECT (org_id) ON licet.organizations TO licet_system;
CREATE POLICY organizations_system_select ON licet.organizations FOR SELECT TO licet_system USING (true);

GRANT SELECT (org_id, id, status, expires_at), UPDATE (status, status_since) ON licet.licenses TO licet_system;
CREATE POLICY licenses_system_select ON licet.licenses FOR SELECT TO licet_system
    USING (status IN ('ACTIVE', 'EXPIRED') AND expires_at <= now());
CREATE POLICY licenses_system_update ON licet.licenses FOR UPDATE TO licet_system
    USING (org_id = licet.current_org_id() AND status = 'ACTIVE' AND expires_at <= now())
    WITH CHECK (org_id = licet.current_org_id() AND status = 'EXPIRED');

-- Those in force that have an end, by it: over all tenants, so that what is due is found without
-- a look at everybody.
CREATE INDEX licenses_due ON licet.licenses (expires_at, org_id, id) WHERE status = 'ACTIVE';

GRANT SELECT, INSERT, UPDATE ON licet.audit_heads TO licet_system;
CREATE POLICY audit_heads_system_select ON licet.audit_heads FOR SELECT TO licet_system USING (org_id = licet.current_org_id());
CREATE POLICY audit_heads_system_insert ON licet.audit_heads FOR INSERT TO licet_system WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY audit_heads_system_update ON licet.audit_heads FOR UPDATE TO licet_system USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());

-- In nobody else's name.
GRANT INSERT ON licet.audit_events TO licet_system;
CREATE POLICY audit_events_system_insert ON licet.audit_events FOR INSERT TO licet_system
    WITH CHECK (org_id = licet.current_org_id() AND actor = 'system');

-- What is outworn. The periods are those of origin/src/jobs/retention.rs, which a test compares.
GRANT SELECT (org_id, key, created_at), DELETE ON licet.idempotency_keys TO licet_system;
CREATE POLICY idempotency_keys_system_select ON licet.idempotency_keys FOR SELECT TO licet_system
    USING (org_id = licet.current_org_id() AND created_at < now() - interval '1 day');
CREATE POLICY idempotency_keys_system_delete ON licet.idempotency_keys FOR DELETE TO licet_system
    USING (org_id = licet.current_org_id() AND created_at < now() - interval '1 day');

GRANT SELECT (org_id, id, expires_at, ends_at, ended_at), DELETE ON licet.sessions TO licet_system;
CREATE POLICY sessions_system_select ON licet.sessions FOR SELECT TO licet_system
    USING (org_id = licet.current_org_id() AND coalesce(ended_at, least(expires_at, ends_at)) < now() - interval '30 days');
CREATE POLICY sessions_system_delete ON licet.sessions FOR DELETE TO licet_system
    USING (org_id = licet.current_org_id() AND coalesce(ended_at, least(expires_at, ends_at)) < now() - interval '30 days');
CREATE INDEX sessions_outworn ON licet.sessions (org_id, coalesce(ended_at, least(expires_at, ends_at)));

GRANT SELECT (org_id, id, expires_at, accepted_at, revoked_at), DELETE ON licet.invitations TO licet_system;
CREATE POLICY invitations_system_select ON licet.invitations FOR SELECT TO licet_system
    USING (org_id = licet.current_org_id() AND coalesce(accepted_at, revoked_at, expires_at) < now() - interval '30 days');
CREATE POLICY invitations_system_delete ON licet.invitations FOR DELETE TO licet_system
    USING (org_id = licet.current_org_id() AND coalesce(accepted_at, revoked_at, expires_at) < now() - interval '30 days');

GRANT SELECT (org_id, id, deactivated_at, name, metadata), UPDATE (name, metadata) ON licet.activations TO licet_system;
CREATE POLICY activations_system_select ON licet.activations FOR SELECT TO licet_system
    USING (org_id = licet.current_org_id() AND deactivated_at < now() - interval '30 days');
CREATE POLICY activations_system_update ON licet.activations FOR UPDATE TO licet_system
    USING (org_id = licet.current_org_id() AND deactivated_at < now() - interval '30 days')
    WITH CHECK (org_id = licet.current_org_id() AND name IS NULL AND metadata IS NULL);
CREATE INDEX activations_outworn ON licet.activations (org_id, deactivated_at)
    WHERE deactivated_at IS NOT NULL AND (name IS NOT NULL OR metadata IS NOT NULL);

-- A person who was erased: the row stays, so that their id still leads somewhere, and names nobody.
ALTER TABLE licet.users
    ADD COLUMN erased_at timestamptz,
    ADD CONSTRAINT users_erased_entirely CHECK (erased_at IS NULL OR (
        email = '' AND name = '' AND password_hash = '' AND license_id IS NULL AND deleted_at IS NOT NULL));
CREATE INDEX users_outworn ON licet.users (org_id, deleted_at)
    WHERE deleted_at IS NOT NULL AND erased_at IS NULL;

GRANT SELECT (org_id, id, version, deleted_at, erased_at), UPDATE (email, name, password_hash, license_id, version, updated_at, erased_at)
    ON licet.users TO licet_system;
CREATE POLICY users_system_select ON licet.users FOR SELECT TO licet_system
    USING (org_id = licet.current_org_id() AND deleted_at < now() - interval '30 days');
CREATE POLICY users_system_update ON licet.users FOR UPDATE TO licet_system
    USING (org_id = licet.current_org_id() AND deleted_at < now() - interval '30 days')
    WITH CHECK (org_id = licet.current_org_id() AND erased_at IS NOT NULL);

GRANT SELECT (org_id, user_id), DELETE ON licet.audit_personal TO licet_system;
CREATE POLICY audit_personal_system_select ON licet.audit_personal FOR SELECT TO licet_system USING (org_id = licet.current_org_id());
CREATE POLICY audit_personal_system_delete ON licet.audit_personal FOR DELETE TO licet_system USING (org_id = licet.current_org_id());

-- The trail is read by its numbers, which follow the chain.
DROP INDEX licet.audit_events_subject;
CREATE INDEX audit_events_subject ON licet.audit_events (org_id, subject, seq);
CREATE INDEX audit_events_actor ON licet.audit_events (org_id, actor, seq);
CREATE INDEX audit_events_action ON licet.audit_events (org_id, action text_pattern_ops, seq);
