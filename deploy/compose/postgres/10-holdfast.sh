#!/usr/bin/env bash
# Sets the primary up, once, for Holdfast and for its synchronous standby. Run by the image's own
# entrypoint while the server is reachable from nowhere.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
  --set replication="$(cat /run/secrets/replication_password)" \
  --set password="$(cat /run/secrets/database_password)" <<'SQL'
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replication';
CREATE ROLE holdfast LOGIN PASSWORD :'password';
CREATE DATABASE holdfast OWNER holdfast;
SELECT pg_create_physical_replication_slot('pg_2');
-- Not in force before the start that follows: nothing above could commit without a standby.
ALTER SYSTEM SET synchronous_commit = 'on';
ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (pg_2)';
SQL
echo "host replication replicator samenet scram-sha-256" >>"$PGDATA/pg_hba.conf"
