ALTER TABLE licet.organizations DROP COLUMN closed_at;
