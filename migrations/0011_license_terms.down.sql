DROP INDEX licet.activations_device;
DROP INDEX licet.licenses_feature_set;
ALTER TABLE licet.licenses
    DROP COLUMN features,
    DROP COLUMN own_max_activations;
