DROP TABLE licet.usage;
DROP TABLE licet.license_changes;
ALTER TABLE licet.policies DROP COLUMN token_reach_s;
ALTER TABLE licet.status_versions DROP COLUMN changed_version;
ALTER TABLE licet.licenses DROP COLUMN state_version;
