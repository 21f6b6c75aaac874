#!/usr/bin/env bash
# Build on many machines, which exchange results through DVC's remote.
#
#   tools/fan_out.sh list              print the stages for workers, one for each training
#   tools/fan_out.sh worker STAGE...   build stages of models/dvc.yaml and push each: evaluate@lenet5-0
#   tools/fan_out.sh head              build everything from what was pushed; a training that was not pushed runs here
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

usage() {
    echo "error: tools/fan_out.sh list, worker STAGE... or head; for example: worker evaluate@lenet5-0" >&2
    exit 2
}

# Fetch the records of all runs that were pushed. Their files follow when they are needed: the target here is a file
# that is not in DVC's cache, so that nothing else is fetched.
learn() {
    # Without a remote, DVC would only warn, and the head would train everything.
    if ! dvc remote default > /dev/null 2>&1; then
        echo "error: DVC has no default remote: dvc remote add --default NAME URL" >&2
        exit 1
    fi
    dvc fetch --quiet --run-cache metrics/report.json
}

case "${1-}:$#" in
    list:1)
        dvc stage list --name-only models/dvc.yaml | grep --extended-regexp --only-matching 'evaluate(_more)?@.*'
        ;;
    worker:1) usage ;;
    worker:*)
        learn
        for stage in "${@:2}"; do
            dvc repro --pull "models/dvc.yaml:$stage"
            dvc push --run-cache --with-deps "models/dvc.yaml:$stage"
        done
        ;;
    head:1)
        learn
        dvc repro --pull --all-pipelines
        ;;
    *) usage ;;
esac
