ALTER TABLE licet.licenses
    DROP COLUMN features,
    DROP COLUMN own_max_activations;
