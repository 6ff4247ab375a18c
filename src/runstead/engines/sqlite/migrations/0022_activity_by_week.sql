-- Charts over years are made of weeks, which a store has so far by days. `merged_durations` is the program's (migrate.py).
INSERT INTO activity_rollups (project_id, way, name, width, bucket, kind, status, runs, durations)
SELECT project_id, way, name, 604800000, bucket / 604800000 * 604800000 AS week, kind, status,
  sum(runs), merged_durations(durations)
FROM activity_rollups WHERE width = 86400000
GROUP BY project_id, way, name, week, kind, status;
