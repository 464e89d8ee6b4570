#!/usr/bin/env bash
# Makes .venv in the repository root, with uv and everything that requirements.lock pins.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
  for name in python3.13 python3.14 python3.12 python3 python; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then echo "$name"; return; fi
  done
  echo "Python 3.12 or later is needed, and none is on PATH (python3.13 is best)." >&2
  exit 1
}

if [ ! -x .venv/bin/uv ]; then
  python=$(find_python)
  echo "Making .venv with $("$python" --version)" >&2
  if ! "$python" -m venv --clear .venv 2>/dev/null; then  # Debian splits venv off into a package of its own
    deploy/as-root.sh apt-get install -y -qq "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    "$python" -m venv --clear .venv
  fi
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/uv.lock.txt
fi
echo "Installing the Python packages" >&2
export VIRTUAL_ENV="$PWD/.venv"
.venv/bin/uv pip install --quiet --require-hashes -r requirements.lock
.venv/bin/uv pip install --quiet --no-deps --editable .
