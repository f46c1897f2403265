DROP INDEX licet.activations_given_back;
DROP INDEX licet.license_products_product;
DROP INDEX licet.licenses_end;
DROP INDEX licet.licenses_policy;
DROP INDEX licet.licenses_status;
