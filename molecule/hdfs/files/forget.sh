#!/bin/bash
# Try to make the NameNode format a second time; it must refuse, say so, and serve what it had when its folder is back.
set -euo pipefail
cd /tmp
home=/var/lib/hdfs

refused() {
  local since
  since="$(date '+%F %T')"
  if systemctl start hdfs-namenode.service; then
    echo "$1: the NameNode has started" >&2
    exit 1
  fi
  systemctl stop hdfs-namenode.service
  if ! journalctl --unit hdfs-namenode.service --since "$since" | grep -q 'is not formatted again'; then
    echo "$1: the NameNode does not say why it will not start" >&2
    exit 1
  fi
}

before="$(cat $home/name/current/VERSION)"
systemctl stop hdfs-namenode.service
mv $home/name $home/elsewhere
refused "without its folder"
# As the mount point of a disk that is missing.
install -d -o hdfs -g hdfs $home/name
refused "with an empty folder"
rmdir $home/name
mv $home/elsewhere $home/name

# A note that is lost is written again: an older image may lack it.
rm $home/formatted
systemctl start hdfs-namenode.service hdfs-ready.service
test -s $home/formatted
test "$(cat $home/name/current/VERSION)" = "$before"
runuser -u admin -- hdfs dfs -cat /user/admin/text | cmp - /usr/share/common-licenses/GPL-3
