"""A program of `jobs/` as a Ray job: tree uploaded, log followed, exit code returned.

    submit("jobs/simflow_256.py", ["run.name=first"], address="http://127.0.0.1:8265")

The same as `ray job submit --working-dir . -- python jobs/simflow_256.py run.name=first`, with
paths made absolute and with a Ctrl-C that stops the job.
"""

import asyncio
import contextlib
import logging
import shlex
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.job_submission import JobStatus
from ray.job_submission import JobSubmissionClient

from system.foundation import storage
from system.foundation.overlay import is_file
from system.foundation.recipe import Recipe
from system.launch.command import ROOT
from system.launch.preflight import places
from system.launch.provenance import COMMIT_VARIABLE
from system.launch.provenance import commit

STOP_PATIENCE_S = 30.0
RAY_NOTICES = ("Runtime env is setting up", "Running entrypoint for job")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended."""

    job: str
    status: str
    exit_code: int
    message: str


def placed(recipe: Recipe, arguments: Sequence[str]) -> list[str]:
    """The arguments of a job that mean the same from another folder: with absolute paths."""
    return [
        *(storage.absolute(each) if is_file(each) else each for each in arguments),
        *(f"{key}={storage.absolute(value)}" for key, value in places(recipe).items()),
    ]


def submit(
    script: str,
    arguments: Sequence[str],
    *,
    address: str,
    token: str | None = None,
    say: Callable[[str], None] = lambda text: print(text, end="", flush=True),
) -> Outcome:
    """Submit, follow the log until the job has ended, and tell how. Ctrl-C stops the job first.

    `token` is that of the cluster; without it Ray looks for one in the environment.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of every file it leaves out
    headers = {"Authorization": f"Bearer {token}"} if token else None
    client = JobSubmissionClient(address, headers=headers)
    known = {COMMIT_VARIABLE: commit(ROOT) or ""}
    job = client.submit_job(
        entrypoint=shlex.join(["python", script, *arguments]),
        runtime_env={"working_dir": str(ROOT), "env_vars": known},
        metadata={"script": script, "commit": known[COMMIT_VARIABLE]},
    )
    try:
        asyncio.run(_follow(client, job, say))
        return _outcome(client, job)
    except BaseException:
        with contextlib.suppress(RuntimeError, ConnectionError):
            stop(client, job)
        raise


def stop(client: JobSubmissionClient, job: str) -> None:
    """Stop a job and wait until it has ended, but not for ever."""
    client.stop_job(job)
    deadline = time.monotonic() + STOP_PATIENCE_S
    while not client.get_job_status(job).is_terminal() and time.monotonic() < deadline:
        time.sleep(0.2)


async def _follow(client: JobSubmissionClient, job: str, say: Callable[[str], None]) -> None:
    async for text in client.tail_job_logs(job):
        kept = [
            line
            for line in text.splitlines(keepends=True)
            if not any(notice in line for notice in RAY_NOTICES)
        ]
        say("".join(kept))


def _outcome(client: JobSubmissionClient, job: str) -> Outcome:
    """The log may end a moment before the job does."""
    while not (info := client.get_job_info(job)).status.is_terminal():
        time.sleep(0.2)
    code: Any = info.driver_exit_code
    if code is None:
        code = 0 if info.status == JobStatus.SUCCEEDED else 1
    return Outcome(job, info.status.value, code, info.message or "")
