DROP TABLE licet.activations;
DROP TABLE licet.status_versions;
DROP TABLE licet.license_products;
DROP TABLE licet.licenses;
