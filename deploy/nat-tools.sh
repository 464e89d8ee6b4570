#!/usr/bin/env bash
# Installs what the tests behind NATs need, where apt-get can; elsewhere those tests are skipped and say what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

missing() { for name in ip nft conntrack turnserver; do command -v "$name" >/dev/null || return 0; done; return 1; }

missing || exit 0
command -v apt-get >/dev/null || exit 0
echo "Installing coturn and nftables for the tests" >&2
deploy/as-root.sh apt-get update -qq
deploy/as-root.sh apt-get install -y -qq --no-install-recommends coturn nftables conntrack iproute2
# Debian starts what it installs; the tests start a coturn of their own, and nobody asked for another one.
if [ -d /run/systemd/system ]; then deploy/as-root.sh systemctl disable --quiet --now coturn; fi
