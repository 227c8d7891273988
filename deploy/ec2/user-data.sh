#!/usr/bin/env bash
# What a new instance does first: fetch credentials and weights, then start the consumer. The image
# has everything else (install.sh). Change the four lines below; there is no secret in here, for
# whoever may describe the instance may read it.
set -Eeuo pipefail

MODEL=smollm2
MODEL_URI=s3://BUCKET/models/smollm2
SECRET=overbook/worker
REGION=us-east-2

# The secret is a JSON object of files: worker.json is a context of the nats CLI, and names those
# beside it, if any, by /etc/overbook/nats/context/.
fetch_credentials() {
    local folder=/etc/overbook/nats/context
    install -d -m 0750 -o root -g overbook /etc/overbook /etc/overbook/nats "$folder"
    umask 077
    aws secretsmanager get-secret-value --region "$REGION" --secret-id "$SECRET" \
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
