-- Flights stream in from a file and land in an Iceberg table that is compacted as the commits go by.
CREATE TABLE airports (
    faa STRING, name STRING, lat DOUBLE, lon DOUBLE, alt INT, tz INT, dst STRING, tzone STRING
) WITH ('connector' = 'filesystem', 'path' = '${FLIGHTS}/airports.csv', 'format' = 'csv');

CREATE TABLE flights_csv (
    `year` INT, `month` INT, `day` INT, dep_time INT, sched_dep_time INT, dep_delay INT, arr_time INT, sched_arr_time INT,
    arr_delay INT, carrier STRING, flight INT, tailnum STRING, origin STRING, dest STRING, air_time INT, distance INT,
    `hour` INT, `minute` INT, time_hour TIMESTAMP_LTZ(6)
) WITH (
    'connector' = 'filesystem', 'path' = '${FLIGHTS}/flights.csv', 'format' = 'csv', 'rows-per-second' = '${RATE}',
    'csv.null-literal' = 'NA', 'batch-rows' = '1000'
);

CREATE TABLE IF NOT EXISTS flights (
    time_hour TIMESTAMP_LTZ(6),
    carrier   STRING,
    flight    INT,
    tailnum   STRING,
    dep_delay INT,
    arr_delay INT,
    air_time  INT,
    distance  INT,
    origin    ROW<faa STRING, name STRING, position ROW<lat DOUBLE, lon DOUBLE, alt INT>>,
    dest      ROW<faa STRING, name STRING, position ROW<lat DOUBLE, lon DOUBLE, alt INT>>
) PARTITIONED BY (month(time_hour))
WITH ('connector' = 'iceberg', 'auto-compact' = 'true', 'compact.delta.commits' = '5');

INSERT INTO flights
SELECT f.time_hour, f.carrier, f.flight, f.tailnum, f.dep_delay, f.arr_delay, f.air_time, f.distance,
       ROW(f.origin, o.name, ROW(o.lat, o.lon, o.alt)),
       ROW(f.dest, d.name, ROW(d.lat, d.lon, d.alt))
FROM flights_csv AS f
LEFT JOIN airports AS o ON f.origin = o.faa
LEFT JOIN airports AS d ON f.dest = d.faa;
