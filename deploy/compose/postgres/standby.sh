#!/usr/bin/env bash
# The standby's entrypoint: copies the primary when there is no data yet, then runs as it is.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  PGPASSWORD=$(cat /run/secrets/replication_password)
  export PGPASSWORD
  # What an earlier copy left that was broken off.
  find "$PGDATA" -mindepth 1 -delete
  pg_basebackup --dbname "host=pg-1 user=replicator application_name=pg_2" --pgdata "$PGDATA" \
    --slot pg_2 --wal-method stream --checkpoint fast --write-recovery-conf
  chmod 0700 "$PGDATA"
fi
exec docker-entrypoint.sh postgres
