DROP TABLE licet.trials;
