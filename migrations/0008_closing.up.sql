-- An organization may close its account: its people and machines get in no more. What it has
-- issued stays as it is.
ALTER TABLE licet.organizations ADD COLUMN closed_at timestamptz;
