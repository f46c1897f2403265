DROP TABLE licet.audit_personal;
DROP TABLE licet.audit_heads;
DROP INDEX licet.audit_events_seq_key;
ALTER TABLE licet.audit_events DROP COLUMN seq, DROP COLUMN before, DROP COLUMN after, DROP COLUMN personal_hash, DROP COLUMN prev_hash, DROP COLUMN hash;
