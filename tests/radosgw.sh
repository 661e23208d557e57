#!/usr/bin/env bash
# Run a command beside a real S3: a Ceph object gateway with one monitor and one store in memory.
#     tests/radosgw.sh FOLDER PORT COMMAND [ARGUMENT ...]
# Everything is in FOLDER, which must be empty or new; the gateway listens on PORT of this machine
# only, the monitor on the next one. All three are stopped when the command ends.
set -euo pipefail

if [ $# -lt 3 ]; then echo "usage: tests/radosgw.sh FOLDER PORT COMMAND ..." >&2; exit 2; fi
for tool in ceph-mon ceph-osd radosgw ceph; do
    command -v "$tool" >/dev/null || {
        echo "No '$tool' found. As root: apt-get install --no-install-recommends" \
            "ceph-mon ceph-osd radosgw ceph-common" >&2
        exit 1
    }
done

mkdir -p "$1"
folder=$(cd "$1" && pwd)
port=$2
shift 2
if [ -n "$(ls -A "$folder")" ]; then echo "'$folder' is not empty; name a new one." >&2; exit 2; fi

# Last started, first stopped: a gateway without its store would wait for it.
stop() {
    local name pid tries
    for name in gateway store monitor; do
        [ -e "$folder/$name.pid" ] || continue
        pid=$(cat "$folder/$name.pid")
        kill "$pid" 2>/dev/null || continue
        for tries in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
    done
}
trap stop EXIT
trap 'exit 130' INT TERM

start() {
    local name=$1
    shift
    "$@" >"$folder/$name.log" 2>&1 &
    echo $! >"$folder/$name.pid"
}

# wait_for NAME COMMAND ...: until the command succeeds; ends everything if the server NAME is gone.
wait_for() {
    local name=$1 tries
    shift
    for tries in $(seq 120); do
        if "$@" >/dev/null 2>&1; then return; fi
        kill -0 "$(cat "$folder/$name.pid")" 2>/dev/null || break
        sleep 0.5
    done
    echo "The $name of the test's S3 did not start:" >&2
    tail -n 20 "$folder/$name.log" >&2
    exit 1
}

# One copy in one place is all a test needs; Ceph would wait for three by default. Without keys
# there is nothing to encrypt with, so the gateway must not ask the monitor for it (mode crc).
cluster=$(cat /proc/sys/kernel/random/uuid)
cat >"$folder/ceph.conf" <<CONF
[global]
fsid = $cluster
mon host = v2:127.0.0.1:$((port + 1))/0
mon initial members = a
ms bind msgr1 = false
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
run dir = $folder
admin socket = $folder/\$name.asok
log file = $folder/\$name.ceph.log
mon data = $folder/monitor
mon allow pool size one = true
mon max pg per osd = 1000
osd data = $folder/store
osd objectstore = memstore
memstore device bytes = 1073741824
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw data = $folder/gateway
rgw frontends = beast endpoint=127.0.0.1:$port
CONF
export CEPH_CONF=$folder/ceph.conf
mkdir "$folder/monitor" "$folder/store" "$folder/gateway"

set_up_failed() {
    echo "Setting up the test's S3 failed:" >&2
    tail -n 20 "$folder/setup.log" >&2
}
trap set_up_failed ERR
monmaptool --create --fsid "$cluster" --addv a "[v2:127.0.0.1:$((port + 1))/0]" \
    "$folder/monmap" >"$folder/setup.log"
ceph-mon --mkfs -i a --monmap "$folder/monmap" >>"$folder/setup.log" 2>&1
start monitor ceph-mon -f -i a
wait_for monitor timeout 10 ceph mon stat

store=$(cat /proc/sys/kernel/random/uuid)
timeout 30 ceph osd new "$store" 0 >>"$folder/setup.log" 2>&1
ceph-osd --mkfs -i 0 --osd-uuid "$store" >>"$folder/setup.log" 2>&1
start store ceph-osd -f -i 0
store_is_up() { timeout 10 ceph osd stat | grep -q '1 up'; }
wait_for store store_is_up

export AWS_ACCESS_KEY_ID=testkey AWS_SECRET_ACCESS_KEY=testsecret
timeout 120 radosgw-admin -n client.rgw.a user create --uid test --display-name test \
    --access-key "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" >>"$folder/setup.log" 2>&1
trap - ERR
start gateway radosgw -f -n client.rgw.a
gateway_answers() { python3 -c "import urllib.request as u; u.urlopen('$PILOTLINE_TEST_S3')"; }
export PILOTLINE_TEST_S3=http://127.0.0.1:$port
wait_for gateway gateway_answers

"$@"
