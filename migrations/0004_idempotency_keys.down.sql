DROP TABLE licet.idempotency_keys;
