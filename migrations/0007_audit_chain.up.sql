-- The audit trail as a chain: each event's hash covers the one before it, so that a missing,
-- altered or inserted row shows. origin/src/db/audit.rs says what is hashed.

-- json, not jsonb: what is hashed is the text. seq is null on events from before the chain.
ALTER TABLE licet.audit_events
    ADD COLUMN seq           bigint,
    ADD COLUMN before        json,
    ADD COLUMN after         json,
    -- Salted hash of what stands in audit_personal.
    ADD COLUMN personal_hash bytea,
    ADD COLUMN prev_hash     bytea,
    ADD COLUMN hash          bytea,
    ADD CONSTRAINT audit_events_chained CHECK (
        (seq IS NULL) = (hash IS NULL) AND (seq IS NULL) = (prev_hash IS NULL)),
    ADD CONSTRAINT audit_events_hash_lengths CHECK (
        octet_length(hash) = 32 AND octet_length(prev_hash) = 32 AND octet_length(personal_hash) = 32);

CREATE UNIQUE INDEX audit_events_seq_key ON licet.audit_events (org_id, seq);

-- The end of each organization's chain. Its row lock is what makes seq free of gaps.
CREATE TABLE licet.audit_heads (
    org_id    uuid   NOT NULL,
    seq       bigint NOT NULL,
    prev_hash bytea  NOT NULL,
    hash      bytea  NOT NULL,
    CONSTRAINT audit_heads_pkey PRIMARY KEY (org_id),
    CONSTRAINT audit_heads_seq_positive CHECK (seq > 0),
    CONSTRAINT audit_heads_hash_lengths CHECK (octet_length(hash) = 32 AND octet_length(prev_hash) = 32)
);

ALTER TABLE licet.audit_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.audit_heads FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_heads_select ON licet.audit_heads FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY audit_heads_insert ON licet.audit_heads FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY audit_heads_update ON licet.audit_heads FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY audit_heads_delete ON licet.audit_heads FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE ON licet.audit_heads TO licet_app;

-- The parts of events that name a person. They may be deleted, to erase the person; the chain
-- holds without them.
CREATE TABLE licet.audit_personal (
    org_id   uuid  NOT NULL,
    event_id uuid  NOT NULL,
    user_id  uuid  NOT NULL,
    salt     bytea NOT NULL,
    -- json for its text, as above.
    content  json  NOT NULL,
    CONSTRAINT audit_personal_pkey PRIMARY KEY (org_id, event_id),
    CONSTRAINT audit_personal_event_fkey FOREIGN KEY (org_id, event_id) REFERENCES licet.audit_events (org_id, id),
    CONSTRAINT audit_personal_salt_length CHECK (octet_length(salt) = 32)
);

CREATE INDEX audit_personal_user ON licet.audit_personal (org_id, user_id);

ALTER TABLE licet.audit_personal ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.audit_personal FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_personal_select ON licet.audit_personal FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY audit_personal_insert ON licet.audit_personal FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY audit_personal_update ON licet.audit_personal FOR UPDATE TO licet_app USING (false) WITH CHECK (false);
CREATE POLICY audit_personal_delete ON licet.audit_personal FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, DELETE ON licet.audit_personal TO licet_app;
