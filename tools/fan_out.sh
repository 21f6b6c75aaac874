#!/usr/bin/env bash
# Build on many machines, which exchange results through DVC's remote.
#
#   tools/fan_out.sh list                  print a stage for each training, the longest first: evaluate@lenet5-0
#   tools/fan_out.sh worker FOLDER STAGE   build that stage in a clone in the folder, push it, and delete the clone
#   tools/fan_out.sh head                  build everything from what was pushed; a training that was not pushed runs here
#
# Work on the last commit. The same command resumes a worker that was lost, on any machine that has the folder.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

fail() {
    echo "error: $1" >&2
    exit "${2:-1}"
}

# Fetch the records of all runs that were pushed. Their files follow when they are needed: the target here is a file
# that is not in DVC's cache, so that nothing else is fetched.
learn() {
    # Without a remote, DVC would only warn, and the head would train everything.
    dvc remote default > /dev/null 2>&1 || fail "DVC has no default remote: dvc remote add --default NAME URL"
    dvc fetch --quiet --run-cache metrics/report.json
}

# Enter the clone for a stage in a folder, at the project's last commit. It keeps the checkpoints of a lost worker.
enter() {
    # What has that name in the folder is reset, so it must be a clone from here.
    [[ $2 == evaluate*@* && $2 != */* ]] || fail "$2 is not a stage of tools/fan_out.sh list" 2
    local project=$PWD
    mkdir -p "$1"
    cd "$1"
    exec {lock}> "$2.lock"
    flock --nonblock "$lock" || { echo "$2: waiting for another process that builds it in $PWD" && flock "$lock"; }
    if [[ ! -d $2 ]]; then
        rm -rf "$2.new"
        git clone --quiet "$project" "$2.new"
        mv "$2.new" "$2"
    fi
    cd "$2"
    git fetch --quiet "$project" HEAD
    git reset --quiet --hard FETCH_HEAD
    # It may name processes of a machine that was lost, and DVC would wait for those of the same numbers here.
    rm -f .dvc/tmp/rwlock
    # DVC pushes only what it caches, and does not cache what git holds.
    git rm -r --quiet --ignore-unmatch metrics/evaluate metrics/history metrics/predictions
    sed -i 's/cache: false/cache: true/' models/dvc.yaml
}

case "${1-}:$#" in
    list:1)
        python -m tools models --stages
        ;;
    worker:3)
        enter "$2" "$3"
        learn
        dvc repro --pull "models/dvc.yaml:$3"
        dvc push --run-cache --with-deps "models/dvc.yaml:$3"
        cd ..
        rm -rf "$3"
        ;;
    head:1)
        learn
        dvc repro --pull --all-pipelines
        ;;
    *) fail "tools/fan_out.sh list, worker FOLDER STAGE or head; for example: worker ../tasks evaluate@lenet5-0" 2 ;;
esac
