#!/usr/bin/env bash
# Write the report, the charts and the pictures of docs/measurements/demo-sweep from a finished sweep:
#   bash benchmarks/demo_sweep_files.sh runs/measured
# How to make the sweep is on that page. It needs chromium and chromedriver.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
run=${1:?"usage: $0 FOLDER_OF_THE_SWEEP"}
bin=.venv/bin
to=docs/measurements/demo-sweep
bench=docs/measurements/raw/bench-demo-cpu.json
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

"$bin/moe-eval" report "$run" --output "$made/report.html"
"$bin/moe-eval" report "$run" --bench "$bench" --output "$made/bench.html" > "$made/log"
cp "$made/report.html" "$to/report.html"
cp "$made/report_files/table.csv" "$to/points.csv"
for chart in loss-against-speed-up accuracy-over-k phases; do
  cp "$made/report_files/easy_vqa-$chart.svg" "$to/"
done
picture() { "$bin/python" benchmarks/page_picture.py "$@"; }
picture "$made/report.html" "$to/first-screen.png"
picture "$made/report.html" "$to/questions.png" --part questions --height 760
picture "$made/bench.html" "$to/bench.png" --part bench --height 760
# Narrow enough to be read in a column of text.
picture "$made/report.html" "$to/at-each-k.png" --part at-each-k --width 960 --height 560
picture "$made/report.html" "$to/types.png" --part types --width 960 --height 600
picture "$made/report.html" "$to/inside.png" --part inside --unfold --width 960 --height 720
picture "$made/report.html" "$to/table.png" --part table --width 960 --height 600
