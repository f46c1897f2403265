-- Devices that are told apart by several fingerprints, and such as have none.

ALTER TABLE licet.activations
    -- Null where the device named none: nothing tells it from others then.
    ALTER COLUMN fingerprint_hash DROP NOT NULL,
    -- Component fingerprints, name to the hash of the text; null where it named none.
    ADD COLUMN components jsonb,
    ADD CONSTRAINT activations_components_object CHECK (jsonb_typeof(components) = 'object');
