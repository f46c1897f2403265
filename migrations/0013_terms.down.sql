ALTER TABLE licet.licenses DROP COLUMN terms;
ALTER TABLE licet.policies DROP COLUMN terms;
