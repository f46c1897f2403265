DROP INDEX licet.activations_request_key;
ALTER TABLE licet.activations DROP COLUMN request_nonce, DROP COLUMN machine_key;
