-- Licenses whose time has not begun, and who gave an activation back.

ALTER TABLE licet.licenses
    -- How long it will count from its start, which is to come; null where its end stands, or it has
    -- none.
    ADD COLUMN pending_duration_s bigint,
    ADD CONSTRAINT licenses_pending_duration_range CHECK (pending_duration_s BETWEEN 1 AND 3155760000),
    ADD CONSTRAINT licenses_one_end CHECK (pending_duration_s IS NULL OR expires_at IS NULL);
ALTER TABLE licet.activations
    -- By the device itself: the vendor's people may take back as many as they like.
    ADD COLUMN given_back boolean NOT NULL DEFAULT false;

-- How many a license's devices gave back of late.
CREATE INDEX activations_by_devices ON licet.activations (org_id, license_id, deactivated_at)
    WHERE given_back;
