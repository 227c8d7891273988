#!/usr/bin/env bash
# Makes a certificate authority of one's own, once, and a certificate for each server named:
#
#   certificates.sh FOLDER NAME[,ADDRESS...] ...
#
# FOLDER gets ca.pem, ca.key (keep it off the servers), NAME.pem and NAME.key. An ADDRESS is another
# name or IP under which the server is reached. A server that has a certificate gets a new one; the
# old one goes on until it expires. Trust is in ca.pem: give it to every client as NATS_CA.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
folder=$1
shift
days=${CERTIFICATE_DAYS:-90}
umask 077
mkdir -p "$folder"
cd "$folder"

curve=(-algorithm EC -pkeyopt ec_paramgen_curve:prime256v1)

if [ ! -e ca.key ]; then
    openssl genpkey "${curve[@]}" -out ca.key.new
    openssl req -x509 -new -key ca.key.new -days 3650 -subj "/CN=overbook broker" \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 \
        -addext keyUsage=critical,keyCertSign,cRLSign -out ca.pem
    # Last, so that a run that was interrupted begins anew.
    mv ca.key.new ca.key
    chmod 644 ca.pem
fi

for server in "$@"; do
    IFS=, read -ra addresses <<<"$server"
    name=${addresses[0]}
    [[ $name =~ ^[a-z0-9][a-z0-9.-]*$ ]] || { echo "no name of a server: $name" >&2; exit 2; }
    places=()
    for address in "${addresses[@]}"; do
        if [[ $address =~ ^[0-9.]+$|: ]]; then places+=("IP:$address"); else places+=("DNS:$address"); fi
    done
    openssl genpkey "${curve[@]}" -out "$name.key.new"
    # A server is a client of the others in its cluster.
    openssl req -new -key "$name.key.new" -subj "/CN=$name" |
        openssl x509 -req -days "$days" -CA ca.pem -CAkey ca.key -out "$name.pem.new" -extfile <(
            echo "subjectAltName=$(IFS=,; echo "${places[*]}")"
            echo "extendedKeyUsage=serverAuth,clientAuth"
            echo "keyUsage=critical,digitalSignature"
            echo "basicConstraints=critical,CA:FALSE"
        ) 2>/dev/null
    mv "$name.key.new" "$name.key"
    mv "$name.pem.new" "$name.pem"
    chmod 644 "$name.pem"
    echo "$folder/$name.pem"
done
