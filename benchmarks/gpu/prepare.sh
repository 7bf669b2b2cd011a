#!/usr/bin/env bash
# Fetch into benchmarks/gpu/wheels/ the few packages that run.sh needs besides PyTorch, torchvision and
# transformers (40 MB, nearly all of it scipy). Run it where there is a network. git ignores the folder:
# take it along with the checkout to the machine with the GPU. What is there already is not used.
#
# usage: bash benchmarks/gpu/prepare.sh [OPTIONS OF pip download]
#   if that machine has another Python or system than this one, for instance:
#   --python-version 3.12 --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64
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
