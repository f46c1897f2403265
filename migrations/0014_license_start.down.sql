DROP INDEX licet.activations_given_back;
ALTER TABLE licet.activations DROP COLUMN given_back;
ALTER TABLE licet.licenses DROP COLUMN pending_duration_s;
