DROP INDEX licet.activations_by_devices;
ALTER TABLE licet.activations DROP COLUMN given_back;
ALTER TABLE licet.licenses DROP COLUMN pending_duration_s;
