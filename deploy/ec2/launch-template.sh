#!/usr/bin/env bash
# Writes the launch template for `aws ec2 create-launch-template --cli-input-json file://FILE`: the
# JSON beside this script, with the user data in it. Stops while a placeholder is left.
#
#   launch-template.sh > overbook-nodes.json
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if grep --line-number --extended-regexp 'PLACEHOLDER|s3://BUCKET' "$here/launch-template.json" "$here/user-data.sh" >&2; then
    echo "$0: put your own names in place of these" >&2
    exit 1
fi
encoded=$(base64 --wrap 0 "$here/user-data.sh")
python3 - "$here/launch-template.json" "$encoded" <<'PYTHON'
import json, sys

template = json.load(open(sys.argv[1]))
template["LaunchTemplateData"]["UserData"] = sys.argv[2]
json.dump(template, sys.stdout, indent=2)
print()
PYTHON
