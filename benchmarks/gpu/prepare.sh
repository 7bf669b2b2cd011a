#!/usr/bin/env bash
# Fetch into benchmarks/gpu/wheels/ the few packages that run.sh needs besides PyTorch, torchvision and
# transformers (4 MB). Run it where there is a network. git ignores the folder: take it along with the
# checkout to the machine with the GPU.
#
# usage: bash benchmarks/gpu/prepare.sh [OPTIONS OF pip download]
#   for a machine of another kind than this one: --platform manylinux2014_x86_64 --python-version 3.12
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case "${1:-}" in
-h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac
rm -rf "$here/wheels"
"${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary=:all: --dest "$here/wheels" --requirement "$here/requirements.txt" "$@"
ls "$here/wheels"
