CREATE INDEX licenses_withdrawn ON licet.licenses (org_id, id)
    WHERE status IN ('SUSPENDED', 'REVOKED');
DROP INDEX licet.activations_license;
CREATE INDEX activations_license ON licet.activations (org_id, license_id);
DROP TABLE licet.withdrawals;
