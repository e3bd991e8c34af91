#!/usr/bin/env bash
# All tests, from a fresh checkout: needs Rust, a C compiler and Python 3.11 or later with venv.
#   bash tests/run.sh
# Everything here must pass. Only the benchmarks are left out where their folder is not beside the checkout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/highwater"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

say() { printf '\n== %s\n' "$*"; }

say "unit, integration and documentation tests"
cargo test --release --locked
cargo build --release --locked
target="$(cargo metadata --format-version 1 --no-deps --locked |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')"
highwater="$target/release/highwater"

say "Python environments"
# One for each list: the versions that they need exclude each other.
environment() {
  local venv
  venv="$cache/venv-tests-$(cksum < "$1" | tr -d ' ')"
  if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" || {
      echo "tests/run.sh: python3 cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
      exit 1
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$1" >&2
    touch "$venv/complete"
  fi
  echo "$venv"
}
venv="$(environment tests/requirements.txt)"
venv_aws="$(environment tests/requirements-aws.txt)"
echo "$venv $venv_aws"

say "the sample trail and its notebook"
"$highwater" simulate --preset sample -o "$scratch/simulated"
for name in AWSLogs truth.json; do
  diff -rq "$scratch/simulated/$name" "notebooks-data/$name"
done
"$highwater" scan notebooks-data/AWSLogs -o "$scratch/sample" --quiet
"$venv/bin/python" tests/notebook.py notebooks-data/burst.ipynb "$scratch/sample"

say "the sidecar, a bucket and a queue"
"$venv_aws/bin/python" tests/sidecar.py "$highwater" "$scratch" --kills 50

say "the sidecar's quick start"
"$venv_aws/bin/python" tests/quickstart.py "$highwater" "$scratch"

say "the sinks"
"$venv_aws/bin/python" tests/sinks.py "$highwater" "$scratch"

say "what fails around the sidecar"
"$venv_aws/bin/python" tests/faults.py "$highwater" "$scratch"

say "what is for deployment"
# promtool, out of Debian's package and without installing the server beside it; where it cannot be had, rules are parsed.
prometheus="$cache/prometheus/usr/bin"
if ! command -v promtool > /dev/null && [ ! -e "$prometheus/promtool" ]; then
  (mkdir -p "$cache" && cd "$scratch" && apt-get download -qq prometheus && dpkg -x prometheus_*.deb "$cache/prometheus") 2>&1 | tail -n 1 || true
fi
PATH="$PATH:$prometheus" \
"$venv_aws/bin/python" tests/deploy.py deploy "$scratch"

say "the benchmark"
bench="../shared/bench/ratebench.py"
if [ -e "$bench" ]; then
  "$venv/bin/python" tests/benchmark.py "$highwater" "$bench" "$scratch" --seeds 1 2
else
  echo "skipped: ../shared is absent"
fi

say "the benchmark of series"
series="../shared/data/series"
if [ -e "$series" ]; then
  "$venv/bin/python" tests/series_benchmark.py "$highwater" "$series" "$scratch"
else
  echo "skipped: ../shared is absent"
fi
say "all tests passed"
