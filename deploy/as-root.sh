#!/usr/bin/env bash
# Runs a command as root: directly, or through sudo.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then exec env DEBIAN_FRONTEND=noninteractive "$@"; fi
command -v sudo >/dev/null || { echo "This needs root, and there is no sudo: run as root: $*" >&2; exit 1; }
exec sudo env DEBIAN_FRONTEND=noninteractive "$@"
