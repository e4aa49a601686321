-- A second job follows the table of the first, reads only the leaves that it needs, and keeps a flat table of long delays.
CREATE TABLE IF NOT EXISTS delayed (
    time_hour   TIMESTAMP_LTZ(6),
    carrier     STRING,
    flight      INT,
    dep_delay   INT,
    from_name   STRING,
    to_name     STRING,
    to_latitude DOUBLE
) WITH ('connector' = 'iceberg', 'auto-compact' = 'true', 'compact.delta.commits' = '5');

INSERT INTO delayed
SELECT time_hour, carrier, flight, dep_delay, origin.name, dest.name, dest.position.lat
FROM flights /*+ OPTIONS('streaming' = 'true', 'monitor-interval' = '200 ms') */
WHERE dep_delay > 60;
