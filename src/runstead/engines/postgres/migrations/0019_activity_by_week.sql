-- Charts over years are made of weeks, which a store has so far by days. Durations are maps of MessagePack: milliseconds
-- to runs, both of them integers.
CREATE FUNCTION unpacked_durations(packed bytea) RETURNS TABLE (ms bigint, runs bigint) LANGUAGE plpgsql AS $$
DECLARE
  at integer := 1;
  entries bigint := get_byte(packed, 0);
  numbers bigint[];
  head integer;
  size integer;
  number bigint;
BEGIN
  IF entries IN (222, 223) THEN  -- a map whose size has two or four bytes; else it is a part of the first
    size := CASE entries WHEN 222 THEN 2 ELSE 4 END;
    entries := 0;
    FOR byte IN 1..size LOOP
      entries := entries << 8 | get_byte(packed, byte);
    END LOOP;
    at := size + 1;
  ELSE
    entries := entries - 128;
  END IF;
  FOR entry IN 1..entries LOOP
    numbers := '{}';
    FOR part IN 1..2 LOOP
      head := get_byte(packed, at);
      size := CASE WHEN head BETWEEN 204 AND 211 THEN 1 << (head - 204) % 4 ELSE 0 END;
      number := CASE WHEN size > 0 THEN 0 WHEN head >= 224 THEN head - 256 ELSE head END;
      FOR byte IN 1..size LOOP
        number := number << 8 | get_byte(packed, at + byte);
      END LOOP;
      IF head BETWEEN 208 AND 210 AND get_byte(packed, at + 1) >= 128 THEN  -- negative, of less than eight bytes
        number := number - (1::bigint << 8 * size);
      END IF;
      at := at + 1 + size;
      numbers := numbers || number;
    END LOOP;
    ms := numbers[1];
    runs := numbers[2];
    RETURN NEXT;
  END LOOP;
END $$;
CREATE FUNCTION packed_number(number bigint) RETURNS bytea LANGUAGE sql AS $$
  SELECT CASE
    WHEN number BETWEEN 0 AND 127 THEN substr(int2send(number::smallint), 2)
    WHEN number BETWEEN 0 AND 32767 THEN '\xd1'::bytea || int2send(number::smallint)
    WHEN number BETWEEN 0 AND 2147483647 THEN '\xd2'::bytea || int4send(number::integer)
    ELSE '\xd3'::bytea || int8send(number)
  END
$$;
INSERT INTO activity_rollups (project_id, way, name, width, bucket, kind, status, runs, durations)
WITH days AS (
  SELECT project_id, way, name, bucket / 604800000 * 604800000 AS week, kind, status, runs, durations
  FROM activity_rollups WHERE width = 86400000
),
counted AS (
  SELECT project_id, way, name, week, kind, status, sum(runs)::bigint AS runs FROM days GROUP BY 1, 2, 3, 4, 5, 6
),
took AS (
  SELECT project_id, way, name, week, kind, status, d.ms, sum(d.runs)::bigint AS runs
  FROM days CROSS JOIN LATERAL unpacked_durations(durations) AS d GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(d.runs) <> 0
),
packed AS (
  SELECT project_id, way, name, week, kind, status, '\xdf'::bytea || int4send(count(*)::integer)
    || string_agg(packed_number(ms) || packed_number(runs), ''::bytea ORDER BY ms) AS durations
  FROM took GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT project_id, way, name, 604800000, week, kind, status, runs, coalesce(durations, '\x80'::bytea)
FROM counted LEFT JOIN packed USING (project_id, way, name, week, kind, status);
DROP FUNCTION unpacked_durations(bytea);
DROP FUNCTION packed_number(bigint);
