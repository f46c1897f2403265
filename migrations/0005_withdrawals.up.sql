-- Which lists say of which licenses that they are suspended or revoked. Without it a list was made
-- by walking every such license that the organization ever had.

CREATE TABLE licet.withdrawals (
    org_id      uuid    NOT NULL,
    status_list integer NOT NULL,
    license_id  uuid    NOT NULL,
    -- The license's, written in the transaction that changes it. A reinstated license has no row.
    status      text    NOT NULL,
    CONSTRAINT withdrawals_pkey PRIMARY KEY (org_id, status_list, license_id),
    CONSTRAINT withdrawals_list_fkey FOREIGN KEY (org_id, status_list) REFERENCES licet.status_versions (org_id, number),
    CONSTRAINT withdrawals_license_fkey FOREIGN KEY (org_id, license_id) REFERENCES licet.licenses (org_id, id),
    CONSTRAINT withdrawals_status_known CHECK (status IN ('SUSPENDED', 'REVOKED'))
);

-- Of one license, for its next change.
CREATE INDEX withdrawals_license ON licet.withdrawals (org_id, license_id);

-- Those that there are. Forced row-level security would hide them from a migrating role that is
-- no superuser.
ALTER TABLE licet.activations NO FORCE ROW LEVEL SECURITY;
ALTER TABLE licet.licenses NO FORCE ROW LEVEL SECURITY;
INSERT INTO licet.withdrawals (org_id, status_list, license_id, status)
SELECT DISTINCT a.org_id, a.status_list, a.license_id, l.status
FROM licet.activations a
JOIN licet.licenses l ON l.org_id = a.org_id AND l.id = a.license_id
WHERE l.status IN ('SUSPENDED', 'REVOKED');
ALTER TABLE licet.activations FORCE ROW LEVEL SECURITY;
ALTER TABLE licet.licenses FORCE ROW LEVEL SECURITY;

ALTER TABLE licet.withdrawals ENABLE ROW LEVEL SECURITY;
ALTER TABLE licet.withdrawals FORCE ROW LEVEL SECURITY;
CREATE POLICY withdrawals_select ON licet.withdrawals FOR SELECT TO licet_app USING (org_id = licet.current_org_id());
CREATE POLICY withdrawals_insert ON licet.withdrawals FOR INSERT TO licet_app WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY withdrawals_update ON licet.withdrawals FOR UPDATE TO licet_app USING (org_id = licet.current_org_id()) WITH CHECK (org_id = licet.current_org_id());
CREATE POLICY withdrawals_delete ON licet.withdrawals FOR DELETE TO licet_app USING (org_id = licet.current_org_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON licet.withdrawals TO licet_app;

-- A license's entries, live or not: now those of one list as well, and without a look at the rows.
DROP INDEX licet.activations_license;
CREATE INDEX activations_license ON licet.activations (org_id, license_id, status_list, status_index);
-- Nothing reads it any more.
DROP INDEX licet.licenses_withdrawn;
