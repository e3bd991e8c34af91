#!/usr/bin/env bash
# Speed and memory beside the physical limit (inflating alone) and beside two peers, in one interleaved run.
#   bash benches/compare.sh [--rounds 5] [--no-peers] [--no-million]
# Needs the Debian packages libdeflate-tools and python3-venv, 500 MB of disk (1.5 GB with the peers), ten minutes. The
# corpora are made once and kept below the target directory. Exit status 1 if a bar is missed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/highwater"

command -v libdeflate-gunzip > /dev/null || {
  echo "benches/compare.sh: libdeflate-gunzip is missing; on Debian: apt-get install libdeflate-tools" >&2
  exit 1
}
target="$(cargo metadata --format-version 1 --no-deps --locked |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')"
if [ -z "${HIGHWATER:-}" ]; then
  cargo build --release --locked
  HIGHWATER="$target/release/highwater"
fi

python=python3
if [[ " $* " != *" --no-peers "* ]]; then
  venv="$cache/venv-benches-$(cksum < benches/requirements.txt | tr -d ' ')"
  if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement benches/requirements.txt
    touch "$venv/complete"
  fi
  python="$venv/bin/python"
fi
exec nice "$python" benches/compare.py "$HIGHWATER" "$target/compare" "$@"
