#!/usr/bin/env bash
# Three machines and ours on one switch, each a network namespace: n1 is 10.77.0.1, and so on, and
# we are 10.77.0.254. Runs the command given there; with its end all of it is gone.
#
#   unshare --user --map-root-user --net --mount namespaces.sh COMMAND...
set -euo pipefail

mount -t tmpfs none /run
ip link set lo up
ip link add switch type bridge
ip addr add 10.77.0.254/24 dev switch
ip link set switch up
for n in 1 2 3; do
    ip netns add "n$n"
    ip link add "to-n$n" type veth peer name eth0 netns "n$n"
    ip link set "to-n$n" master switch up
    ip -n "n$n" addr add "10.77.0.$n/24" dev eth0
    ip -n "n$n" link set eth0 up
    ip -n "n$n" link set lo up
done
exec "$@"
