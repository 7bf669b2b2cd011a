#!/usr/bin/env bash
# Measure on the GPU of this machine, within 8 minutes and without a network: the embedded model at
# k = 8, 4, 2, 1 (accuracy, and speed block by block), and the architecture of Qwen3-VL-30B-A3B at real
# size with random weights. Nothing is installed. Needed: Python 3.11, PyTorch, torchvision and
# transformers; what else is missing comes from benchmarks/gpu/wheels/ (see prepare.sh).
#
# usage: bash benchmarks/gpu/run.sh [--small] [--seconds N] OUT
#   OUT          folder for the JSON files; each is whole at any time
#   --small      the same on the CPU with few questions and a tiny model, within about a minute
#   --seconds N  end after this many seconds, whatever is done by then (default: 480; 240 with --small)
#   PYTHON=...   the interpreter that has PyTorch (default: python3)
#
# It exits with 0 if all parts were measured, with 1 if some were not, and with 2 if nothing can be.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
small='' seconds='' out=''

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}

refuse() {
    echo "run.sh: $1" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help) usage && exit 0 ;;
    --small) small=--small ;;
    --seconds) seconds=${2:-} && shift ;;
    -*) refuse "$1 is not an option. See --help." ;;
    *) [ -z "$out" ] || refuse "one folder is expected, not $out and $1. See --help." && out=$1 ;;
    esac
    shift
done
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    refuse "$python is no Python from 3.11 on. Set PYTHON=/path/to/python3."
[ -n "$out" ] || refuse "name a folder for the results. See --help."
[ -n "$seconds" ] || seconds=$([ -n "$small" ] && echo 240 || echo 480)
[[ $seconds =~ ^[0-9]+$ ]] && [ "$seconds" -ge 120 ] || refuse "--seconds must be 120 or more."
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
site=$(mktemp -d) || exit 2
trap 'rm -rf "$site"' EXIT

SECONDS=0
"$python" "$here/set_up.py" "$site" || exit 2
export PYTHONPATH="$site" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
rm -rf "${out:?}"/{environment,demo,bench,bench-grouped-mm,watch,summary}.json "$out/timing"

# part NAME SHARE PROGRAM: run a program for at most this share (percent) of the time that is left. It is
# told to be done a little earlier; one that hangs is ended.
codes=()
part() {
    local name=$1 limit=$(((seconds - 10 - SECONDS) * $2 / 100)) code='left out'
    if [ "$limit" -ge 20 ]; then
        echo "== $name: at most $limit s"
        timeout --kill-after=5 "$((limit - 5))" \
            "$python" "$here/$3" "$out" $small --seconds "$((limit * 85 / 100 - 4))"
        code=$?
    fi
    codes+=("$name=$code")
}

part environment 25 environment.py
[ "${codes[0]}" != environment=3 ] || refuse "PyTorch sees no GPU here. See --small."
part demo 25 demo.py
part bench 85 bench.py
part watch 100 watch.py
"$python" "$here/summary.py" "$out" "${codes[@]}"
