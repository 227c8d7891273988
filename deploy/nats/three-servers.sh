#!/usr/bin/env bash
# Three servers on this machine, with TLS and accounts, for trying what three machines would do:
#
#   three-servers.sh up FOLDER        start those that are down (PORT=4222 and the two behind it)
#   three-servers.sh kill FOLDER N    kill -9 the Nth
#   three-servers.sh stop FOLDER [N]  end all, or the Nth, in order; their data stays
#   three-servers.sh reload FOLDER    have all read accounts.conf and certificates again
#   three-servers.sh addresses FOLDER print the servers' addresses, for NATS_URL
#
# FOLDER has been made by `fleet tenant init --dir FOLDER`. Everything listens on loopback alone.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
which=${3:-}
port=${PORT:-4222}
server=${FLEET_NATS_SERVER:-nats-server}
numbers=(1 2 3)
started=()
[ -z "$which" ] || numbers=("$which")
[[ -z $which || $which =~ ^[123]$ ]] || usage

pid_of() { cat "$folder/n$1/nats-server.pid" 2>/dev/null; }
alive() { local pid; pid=$(pid_of "$1") && kill -0 "$pid" 2>/dev/null; }
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$((port + $1 - 1))") 2>/dev/null; }

start() {
    local n=$1 own="$folder/n$1" routes
    mkdir -p "$own"
    # The files lie together, for the accounts are included from beside the configuration.
    cp "$here/common.conf" "$here/cluster.conf" "$own/"
    ln -sf ../accounts.conf "$own/accounts.conf"
    printf -v routes '"nats://127.0.0.1:%s",' $((port + 2000)) $((port + 2001)) $((port + 2002))
    NATS_NAME=n$n NATS_LISTEN=127.0.0.1:$((port + n - 1)) NATS_MONITOR=127.0.0.1:$((port + 3999 + n)) \
        NATS_PID=$own/nats-server.pid NATS_STORE=$own/store NATS_MAX_MEMORY=1GB \
        NATS_MAX_STORE=${NATS_MAX_STORE:-20GB} \
        NATS_CERT=$folder/tls/n$n.pem NATS_KEY=$folder/tls/n$n.key NATS_CA=$folder/tls/ca.pem \
        NATS_CLUSTER_LISTEN=127.0.0.1:$((port + 1999 + n)) NATS_ROUTES="[${routes%,}]" \
        "$server" -c "$own/cluster.conf" -l "$own/nats-server.log" >"$own/start.log" 2>&1 &
    started[n]=$!
}

wait_for() {
    local n=$1 tries=300
    until alive "$n" && answers "$n"; do
        if ! ((tries--)) || ! kill -0 "${started[n]:-$(pid_of "$n")}" 2>/dev/null; then
            echo "n$n did not start:" >&2
            tail -n 5 "$folder/n$n/"*.log >&2
            exit 1
        fi
        sleep 0.1
    done
}

finish() {
    local n=$1 tries=300
    alive "$n" || return 0
    kill "-$2" "$(pid_of "$n")"
    while alive "$n"; do
        ((tries--)) || { echo "n$n does not end" >&2; exit 1; }
        sleep 0.1
    done
}

case $action in
up)
    [ -e "$folder/accounts.conf" ] || { echo "first: fleet tenant init --dir $folder" >&2; exit 2; }
    [ -e "$folder/tls/n3.pem" ] || "$here/certificates.sh" "$folder/tls" \
        n1,localhost,127.0.0.1 n2,localhost,127.0.0.1 n3,localhost,127.0.0.1 >/dev/null
    for n in "${numbers[@]}"; do
        if ! alive "$n" && answers "$n"; then
            echo "somebody else listens on port $((port + n - 1)): say another one, PORT=5222 $0 ..." >&2
            exit 1
        fi
    done
    for n in "${numbers[@]}"; do alive "$n" || start "$n"; done
    for n in "${numbers[@]}"; do wait_for "$n"; done
    ;;
kill)
    [ -n "$which" ] || usage
    finish "$which" KILL
    ;;
stop)
    for n in "${numbers[@]}"; do finish "$n" TERM; done
    ;;
reload)
    for n in "${numbers[@]}"; do alive "$n" && kill -HUP "$(pid_of "$n")"; done
    ;;
addresses)
    echo "tls://127.0.0.1:$port,tls://127.0.0.1:$((port + 1)),tls://127.0.0.1:$((port + 2))"
    ;;
*) usage ;;
esac
