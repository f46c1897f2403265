DROP TABLE licet.policy_products;
DROP TABLE licet.policies;
DROP TABLE licet.feature_set_revisions;
DROP TABLE licet.feature_sets;
DROP TABLE licet.products;
