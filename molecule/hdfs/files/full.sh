#!/bin/bash
# Fill the disk that HDFS's blocks are on. Who writes gets an error that says so, all else goes on, and space heals it.
set -euo pipefail
cd /tmp
disk=/mnt/disk1 text=/usr/share/common-licenses/GPL-3
trap 'rm -f $disk/ballast*' EXIT

dfs() {
  runuser -u admin -- hdfs dfs "$@"
}

# Leave so many bytes to those who come later.
fill() {
  fallocate --length $(($(df --output=avail --block-size=1 $disk | tail -1) - $1)) "$disk/ballast-$1"
}

refused() {
  if [ "$1" = 0 ] || ! tail -1 /tmp/said | grep -q "$2"; then
    echo "$3: a write into the full disk ended with $1 and said:" >&2
    cat /tmp/said >&2
    exit 1
  fi
}

heals() {
  local deadline=$((SECONDS + 30))
  until dfs -put -f $text after 2> /tmp/said; do
    if ((SECONDS > deadline)); then cat /tmp/said >&2; exit 1; fi
    sleep 1
  done
  dfs -cat after | cmp - $text
}

life="$(systemctl show --property=InvocationID hdfs-datanode)"

# A tenth of each disk is for others, who do not notice.
fill 10000000000
code=0; dfs -put $text full 2> /tmp/said || code=$?
refused $code 'could only be written to 0 of the 1 minReplication nodes' 'from the start'
head -c 1000000000 /dev/zero > $disk/scratch/ballast
rm $disk/scratch/ballast

# Somebody takes that too, while a file is being written.
(head -c 1000000 /dev/zero; until [ -e $disk/ballast-0 ]; do sleep 0.1; done; head -c 50000000 /dev/zero) |
  dfs -put - midst 2> /tmp/said &
sleep 3
fill 0
code=0; wait $! || code=$?
refused $code 'No space left\|All datanodes .* are bad' 'in the midst'
dfs -cat text | cmp - $text
rm $disk/ballast*
heals
dfs -rm -skipTrash after
if dfs -test -e full || dfs -test -e midst; then echo "half a file is there" >&2; exit 1; fi
test "$(systemctl show --property=InvocationID hdfs-datanode)" = "$life"
