"""Workers that are started on other machines: as Ray tasks, or as an array of Slurm jobs. All run `thinnet study work`."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from thinnet.report.extras import need
from thinnet.study.design.configuration import TrialKey
from thinnet.study.design.plan import StudyError
from thinnet.study.workers.serve import serve

RAY, SLURM, SCRIPT = "ray", "slurm", "workers.sbatch"


def ray_task(url: str, name: str) -> int:
    """Works on one study in a task of Ray."""
    return serve(url, name, None, 0.0, Console(stderr=True))


class RayWorkers:
    """Tasks of Ray, one CPU each.

    Args:
        number: of tasks.
        url: the database.
        name: the study.
        address: of the cluster; None starts one on this machine.
    """

    def __init__(self, number: int, url: str, name: str, address: str | None) -> None:
        self.number, self.url, self.name, self.address = number, url, name, address
        self._tasks: list[Any] = []

    def __enter__(self) -> "RayWorkers":
        ray: Any = need("ray", "ray")
        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
        task = ray.remote(num_cpus=1, max_retries=-1)(ray_task)
        self._tasks = [task.remote(self.url, self.name) for _ in range(self.number)]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import ray

        for task in self._tasks:
            ray.cancel(task, force=True)
        ray.shutdown()

    def check(self) -> None:
        """Raise what a task has raised."""
        import ray

        ended, _ = ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)
        ray.get(ended)

    def running(self) -> dict[TrialKey, int]:
        """Tasks report finished trials alone."""
        return {}


class SlurmWorkers:
    """An array of Slurm jobs: a script in the folder of the study, which is submitted where Slurm is installed.

    Args:
        number: of jobs.
        url: the database.
        name: the study.
        folder: of the study.
        console: says what was submitted.
    """

    def __init__(self, number: int, url: str, name: str, folder: Path, console: Console) -> None:
        self.number, self.url, self.name, self.folder, self.console = number, url, name, folder, console

    def __enter__(self) -> "SlurmWorkers":
        script = self.folder / SCRIPT
        script.write_text(slurm_script(self.number, self.url, self.name))
        if shutil.which("sbatch") is None:
            self.console.print(
                f"Submit the workers where Slurm is: sbatch {script}. This command waits for them.", soft_wrap=True
            )
            return self
        sent = subprocess.run(["sbatch", str(script)], capture_output=True, text=True, check=False)
        if sent.returncode:
            reason = sent.stderr.strip() or f"exit code {sent.returncode}"
            raise StudyError("--on", "sbatch must take the script", reason, f"Edit {script}, and submit it.")
        self.console.print(sent.stdout.strip(), soft_wrap=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the jobs: they end when the study is done."""

    def check(self) -> None:
        """Slurm restarts its own jobs."""

    def running(self) -> dict[TrialKey, int]:
        """Jobs report finished trials alone."""
        return {}


def slurm_script(number: int, url: str, name: str) -> str:
    """Returns the script of an array of workers.

    >>> print(slurm_script(4, "postgresql://me@db/studies", "thinnet-1").splitlines()[1])
    #SBATCH --job-name=thinnet-1
    """
    lines = ("#!/bin/bash", f"#SBATCH --job-name={name}", f"#SBATCH --array=1-{number}", "#SBATCH --cpus-per-task=1")
    command = f"{sys.executable} -m thinnet study work --storage {url} --study {name}"
    return "\n".join([*lines, "#SBATCH --requeue", command, ""])
