#!/usr/bin/env bash
# Write the live pages of docs/gallery.md that demo_sweep_files.sh does not: schedules and policies against
# the uniform k of their price, and what routers choose. From a checkout, on a quiet machine:
#   bash benchmarks/gallery_pages.sh
# It takes some minutes, and needs chromium and chromedriver for the pictures.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin
to=docs/measurements/gallery
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
export OMP_NUM_THREADS=1
mkdir -p "$to"

"$bin/moe-eval" tune demo --tasks easy_vqa --batch-size 32 --target 0.5 0.25 --policy modes --output "$made/tuned"
"$bin/moe-eval" sweep --model-args pretrained=demo --tasks easy_vqa --limit 2000 --batch-size 64 \
    --batch-sizes 16 --speed-budget 60 --output "$made/schedules" \
    --experts-k 8 4 2 "@$made/tuned/tuned-0.5.yaml" "@$made/tuned/tuned-0.25.yaml" \
    --policies "@$made/tuned/modes-0.5.yaml" "@$made/tuned/modes-0.25.yaml"
"$bin/moe-eval" report "$made/schedules" --output "$made/schedules.html"
"$bin/moe-eval" routing demo --tasks easy_vqa --limit 500 --new-tokens 2 --output "$made/routing"
cp "$made/schedules.html" "$made/routing/index.html" "$to/"
mv "$to/index.html" "$to/routing.html"
# The commands on the pages name the temporary folder; readers have runs/.
sed -i "s#$made/#runs/#g" "$to"/*.html
"$bin/python" benchmarks/page_picture.py "$to/schedules.html" "$to/schedules.png" --part equal-price
"$bin/python" benchmarks/page_picture.py "$to/routing.html" "$to/routing.png"
