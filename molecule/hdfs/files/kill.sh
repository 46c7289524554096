#!/bin/bash
# Usage: kill.sh UNIT SECONDS ARGUMENT... Kill a unit without warning; hdfs dfs ARGUMENT... must work again in SECONDS.
set -euo pipefail
cd /tmp
systemctl kill --signal=SIGKILL "$1"
deadline=$((SECONDS + $2))
until runuser -u admin -- hdfs dfs "${@:3}" > /dev/null; do
  if ((SECONDS > deadline)); then exit 1; fi
  sleep 0.5
done
