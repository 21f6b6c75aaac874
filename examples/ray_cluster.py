"""Train on the machines of a Ray cluster, the longest training first; tools/fan_out.sh head then builds everything.

    RAY_ADDRESS=HOST:6379 python examples/ray_cluster.py FOLDER

Run it in the project's folder, after make setup, by a Python that has Ray. FOLDER gets a clone for each stage. All
machines see both folders under the same names. If one is lost, others resume its trainings. Ctrl-C ends all.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import ray

CORES, TRIES = 2, 5


def build(project: str, folder: str, stage: str, environment: dict[str, str]) -> None:
    """Build a stage in a clone of its own; environment: the user's, since Ray's hides GPUs."""
    command = ["tools/fan_out.sh", "worker", folder, stage]
    # In a group of its own, so that all that it starts ends with it.
    with subprocess.Popen(command, cwd=project, env=environment, start_new_session=True) as worker:
        try:
            if worker.wait():
                raise RuntimeError(f"{stage} failed")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)


def main(folder: Path) -> int:
    """Build the stages of all trainings; return how many failed."""
    project, environment = str(Path.cwd()), dict(os.environ)
    listed = subprocess.run(["tools/fan_out.sh", "list"], check=True, capture_output=True, text=True)
    # The address is in RAY_ADDRESS; otherwise this machine is the cluster.
    ray.init()
    task = ray.remote(num_cpus=CORES, max_retries=TRIES, retry_exceptions=True)(build)
    stages = {
        task.remote(project, str(folder.absolute()), stage, environment): stage for stage in listed.stdout.split()
    }
    left, failed = [*stages], 0
    try:
        while left:
            (done,), left = ray.wait(left)
            try:
                ray.get(done)
                print(f"{stages[done]}: done, {len(left)} left", flush=True)
            except ray.exceptions.RayError as error:
                failed += 1
                print(f"{stages[done]}: failed: {error}", flush=True)
    finally:
        for one in left:
            ray.cancel(one)
        if left:
            # A cancelled task ends what it started first.
            ray.wait(left, num_returns=len(left), timeout=30)
    return failed


if __name__ == "__main__":
    # Machines print almost the same lines, which Ray would leave out.
    os.environ["RAY_DEDUP_LOGS"] = "0"
    sys.exit(f"{count} stages failed" if (count := main(Path(sys.argv[1]))) else 0)
