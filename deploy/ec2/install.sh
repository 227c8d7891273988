#!/usr/bin/env bash
# Puts Overbook on a machine, as root: for an image's build, or by hand for the control plane.
#
#   install.sh REQUIREMENT     such as ./overbook-0.1.0-py3-none-any.whl[vllm,aws] or 'overbook[aws]'
#
# Nothing is started and nothing enabled: an image has no credentials yet.
set -euo pipefail

if (($# != 1)) || ((EUID != 0)); then
    echo "usage, as root: $0 REQUIREMENT" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if ! getent passwd overbook >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/overbook --shell /usr/sbin/nologin overbook
fi
install -d -m 0755 /opt/overbook/bin
install -d -m 0750 -o root -g overbook /etc/overbook /etc/overbook/nats
install -d -m 0750 -o overbook -g overbook /var/lib/overbook

python3 -m venv /opt/overbook/venv
/opt/overbook/venv/bin/pip install --quiet --disable-pip-version-check "$1"
install -m 0755 "$here/place" /opt/overbook/bin/place
install -m 0644 "$here"/systemd/*.service /etc/systemd/system/
if [[ -d /run/systemd/system ]]; then
    systemctl daemon-reload
fi
echo "installed: $(/opt/overbook/venv/bin/fleet --version)"
