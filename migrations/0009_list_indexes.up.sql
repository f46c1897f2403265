-- What lists are filtered by, in the order in which they are read: each page of a filtered list is
-- found in one index, however many rows of the organization do not pass. Equality and comparison
-- alone: row-level security keeps operators that are not leak-proof, such as LIKE and those of
-- trigrams, out of index conditions.
CREATE INDEX licenses_status ON licet.licenses (org_id, status, id);
CREATE INDEX licenses_policy ON licet.licenses (org_id, policy_id, id);
CREATE INDEX licenses_end ON licet.licenses (org_id, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX license_products_product ON licet.license_products (org_id, product_id, license_id);
-- Few are given back; the live ones are most of all, which the primary key finds.
CREATE INDEX activations_given_back ON licet.activations (org_id, id) WHERE deactivated_at IS NOT NULL;
