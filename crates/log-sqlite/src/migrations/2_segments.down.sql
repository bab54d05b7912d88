DROP TABLE sealed;
DROP TABLE segments
