#!/usr/bin/env bash
# What a new instance does first: fetch credentials and weights, then start the consumer. The image
# has everything else (install.sh). Change the four lines below; there is no secret in here, for
# whoever may describe the instance may read it.
set -Eeuo pipefail

MODEL=smollm2
MODEL_URI=s3://BUCKET/models/smollm2
SECRETS=overbook/nats
REGION=us-east-2

# Spot and on-demand are two identities. The secret of each is a JSON object of files: nats.env with
# NATS_URL, NATS_CA, NATS_NKEY and NATS_INBOX_PREFIX, and those that it names.
fetch_credentials() {
    local folder=/etc/overbook/nats
    local capacity_type
    capacity_type=$(/opt/overbook/bin/place | sed -n 's/^CAPACITY_TYPE=//p')
    install -d -m 0750 -o root -g overbook /etc/overbook "$folder"
    umask 077
    aws secretsmanager get-secret-value --region "$REGION" --secret-id "$SECRETS/$capacity_type" \
        --query SecretString --output text |
        python3 -c '
import json, pathlib, sys
for name, text in json.load(sys.stdin).items():
    pathlib.Path(sys.argv[1], pathlib.Path(name).name).write_text(text)
' "$folder"
    chown root:overbook "$folder"/*
    chmod 0640 "$folder"/*
}

fetch_weights() {
    local folder=/var/lib/overbook/models/$MODEL
    umask 022
    install -d -m 0755 "$folder"
    aws s3 sync --region "$REGION" --only-show-errors "$MODEL_URI" "$folder"
    printf 'MODEL=%s\nMODEL_PATH=%s\n' "$MODEL" "$folder" >/etc/overbook/consumer.env
}

# A machine that cannot begin is ended instead of paid for: its launch template says that a shutdown
# terminates.
trap 'shutdown -h +5 "overbook: user data failed"' ERR

fetch_credentials
fetch_weights
systemctl enable --now --no-block overbook-consumer.service
