#!/usr/bin/env bash
# One task for each training, the longest first, then one that builds everything from them. In the project's folder,
# which all nodes share, after make setup:
#   mapfile -t stages < <(tools/fan_out.sh list)
#   id=$(sbatch --parsable --array="0-$((${#stages[@]} - 1))" examples/slurm.sh "${stages[@]}")
#   sbatch --dependency="afterany:$id" --output="$PWD-head.log" --wrap "tools/fan_out.sh head && .venv/bin/dvc push"
# Each stage has a clone and a log in $SCRATCH/fashion, or ~/fashion: keep it where all nodes find it.
#SBATCH --cpus-per-task=2
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=/dev/null
#SBATCH --signal=B:TERM@120
set -euo pipefail

stages=("$@")
stage=${stages[$SLURM_ARRAY_TASK_ID]}
folder=${SCRATCH:-$HOME}/fashion
mkdir -p "$folder"
exec >> "$folder/$stage.log" 2>&1

# Slurm itself requeues the tasks of a node that it lost, and no others.
again() {
    if ((${SLURM_RESTART_COUNT:-0} < 5)); then
        scontrol requeue "$SLURM_JOB_ID"
    fi
    exit 1
}
# Two minutes before the time limit.
trap again TERM
"$SLURM_SUBMIT_DIR/tools/fan_out.sh" worker "$folder" "$stage" &
wait $! || again
