#!/usr/bin/env bash
# A task for each of the 17 architectures and one for each of the 4 that are repeated, counted from 0, then one that
# assembles them; from the project's folder, after make setup:
#   id=$(sbatch --parsable examples/slurm.sh)
#   sbatch --dependency="afterok:$id" --wrap "tools/fan_out.sh head && .venv/bin/dvc push"
#SBATCH --array=0-20
#SBATCH --cpus-per-task=2
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail
PATH="$SLURM_SUBMIT_DIR/.venv/bin:$PATH"

# DVC works for one command at a time in a folder, so each task has a clone; one that starts again goes on in it.
clone="${SCRATCH:-$HOME}/fashion-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID"
[[ -d $clone ]] || git clone --quiet "$SLURM_SUBMIT_DIR" "$clone"
cd "$clone"
mapfile -t stages < <(dvc stage list --name-only models/dvc.yaml | grep --only-matching --extended-regexp '(evaluate|spread)@.*')
tools/fan_out.sh worker "${stages[$SLURM_ARRAY_TASK_ID]}"
