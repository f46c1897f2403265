DROP TABLE licet.leases;
