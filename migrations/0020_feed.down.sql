DROP FUNCTION licet.published_since(bigint, integer);
DROP FUNCTION licet.note_published(text, text, bigint);
DROP SEQUENCE licet.feed_generation;
DROP TABLE licet.published;
DROP FUNCTION licet.epoch();
