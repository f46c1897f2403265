-- The terms on which licenses are used, beyond their numbers: those of a policy, and those that a
-- license has in their place. Which there are, and which values they take, is checked where they
-- come in (origin/src/licensing/terms.rs).

ALTER TABLE licet.policies
    ADD COLUMN terms jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT policies_terms_object CHECK (jsonb_typeof(terms) = 'object'),
    ADD CONSTRAINT policies_terms_size CHECK (octet_length(terms::text) <= 4096);
ALTER TABLE licet.licenses
    ADD COLUMN terms jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT licenses_terms_object CHECK (jsonb_typeof(terms) = 'object'),
    ADD CONSTRAINT licenses_terms_size CHECK (octet_length(terms::text) <= 4096);
