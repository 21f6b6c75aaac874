#!/usr/bin/env bash
# One task for each training, then one that builds everything from them. In the project's folder, after make setup:
#   last=$(($(tools/fan_out.sh list | wc --lines) - 1))
#   id=$(sbatch --parsable --array="0-$last" examples/slurm.sh)
#   sbatch --dependency="afterok:$id" --wrap "tools/fan_out.sh head && .venv/bin/dvc push"
#SBATCH --cpus-per-task=2
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

# DVC runs one command at a time in a folder, so each task has a clone; a task that is requeued resumes in its clone.
clone="${SCRATCH:-$HOME}/fashion-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID"
[[ -d $clone ]] || git clone --quiet "$SLURM_SUBMIT_DIR" "$clone"
cd "$clone"
PATH="$SLURM_SUBMIT_DIR/.venv/bin:$PATH"
mapfile -t stages < <(tools/fan_out.sh list)
tools/fan_out.sh worker "${stages[$SLURM_ARRAY_TASK_ID]}"
