SELECT dest.name AS destination, count(*) AS flights, round(avg(arr_delay), 1) AS arrival_delay
FROM flights GROUP BY dest.name ORDER BY flights DESC LIMIT 5;

SELECT max(dest.position.lat) AS northernmost_destination FROM flights;

SELECT f.carrier, count(DISTINCT f.flight) AS flights, max(d.dep_delay) AS longest_delay
FROM flights AS f JOIN delayed AS d ON f.carrier = d.carrier AND f.flight = d.flight AND f.time_hour = d.time_hour
GROUP BY f.carrier ORDER BY longest_delay DESC LIMIT 5;
