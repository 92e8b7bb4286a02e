#!/bin/sh
# Makes the samples in this folder afresh with the built-in model, from real runs: some minutes on two cores.
# Usage: docs/samples/make.sh [FOLDER OF mindgap-data]
set -eu
samples=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$samples/../.." && pwd)
bin=$(cd "${1:-$root/.venv/bin}" && pwd)
demo="recipes/data/word_problems.jsonl -o out.jsonl --temperature 0.7 --max-tokens 96 --batch-size 42"
bench="recipes/data/word_problems.jsonl --limit 16 --samples 4 --max-tokens 48"
export COLUMNS=80

cd "$(mktemp -d)"
ln -s "$root/recipes" recipes
"$bin/mindgap-data" rewrite $demo --dry-run > "$samples/dry-run.txt"
"$bin/mindgap-data" rewrite $demo > "$samples/rewrite.txt"
cp out.jsonl "$samples/rewritten.jsonl"
"$bin/mindgap-data" evaluate $bench -o t10 > "$samples/evaluate.txt"
"$bin/mindgap-data" evaluate $bench --temperature 0.5 -o t05
rm -rf "$samples/t10" "$samples/t05"
cp -r t10 t05 "$samples"
