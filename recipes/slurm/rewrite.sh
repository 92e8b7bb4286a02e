#!/usr/bin/env bash
# Rewrites a file in N parts, one a job of a Slurm array, then puts them together.
#
#   sbatch -a 1-8 recipes/slurm/rewrite.sh in.jsonl runs/big --model org/name --engine vllm
#   mindgap-data merge in.jsonl runs/big/part-*-of-8.jsonl -o runs/big/rewritten.jsonl
#
# A part that was stopped continues when its job is started again. Without Slurm the parts run one after the other:
#
#   PARTS=8 recipes/slurm/rewrite.sh in.jsonl runs/big --model org/name
#SBATCH --gres=gpu:1
#SBATCH --requeue
set -euo pipefail

input=$1 folder=$2
shift 2
mkdir -p "$folder"

part() {  # part I of N, with the options of the command line
  local file="$folder/part-$1-of-$2.jsonl"
  # A requeued job whose part is finished has nothing to do.
  if [ -e "$file" ] && [ ! -e "$file.journal" ]; then return; fi
  mindgap-data rewrite "$input" -o "$file" --shard "$1/$2" "${@:3}"
}

if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  part "$SLURM_ARRAY_TASK_ID" "$SLURM_ARRAY_TASK_COUNT" "$@"
else
  for i in $(seq "${PARTS:?number of parts}"); do part "$i" "$PARTS" "$@"; done
fi
