"""The cluster that a campaign's jobs run on, through Ray's job API; this file alone knows Ray here.

A job is submitted under a name of ours, which one cluster takes once: to submit twice is to submit
once. A cluster that was started anew knows none of its jobs, and takes them again; each goes on
where its run stands.
"""

import shlex
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol

from ray.job_submission import JobStatus
from ray.job_submission import JobSubmissionClient

from system.foundation.errors import ClusterError
from system.launch.command import ROOT
from system.launch.provenance import COMMIT_VARIABLE
from system.launch.provenance import commit

# Nodes that are kept for programs offer this, in ops/kubernetes. Ray runs a program that asks for
# nothing on the head, with which it would die.
DRIVER = "driver"
NODES = "/api/v0/nodes?detail=True&limit=10000"


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the cluster has it."""

    ended: bool
    exit_code: int | None  # None: not known, as where it was killed
    seconds: float
    message: str = ""


class Cluster(Protocol):
    """What a campaign asks of a cluster."""

    def resources(self) -> dict[str, float]:
        """What all its living nodes have together."""

    def look(self, job: str) -> Seen | None:
        """A job; None where the cluster knows none of that name."""

    def submit(
        self, job: str, script: str, arguments: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        """Run a program of `jobs/` under a name; nothing happens where there is a job of it."""

    def stop(self, job: str) -> None:
        """End a job at once; nothing happens where it has ended."""


class RayCluster:
    """A cluster of Ray's. Every method raises ClusterError where it does not answer."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self._address = address
        headers = {"Authorization": f"Bearer {token}"} if token else None
        try:
            self._client = JobSubmissionClient(address, headers=headers)
        except (OSError, RuntimeError) as error:
            raise _silent(address, error) from error

    def resources(self) -> dict[str, float]:
        """What all its living nodes have together."""
        try:
            answer = self._client._do_request("GET", NODES)
            nodes = answer.json()["data"]["result"]["result"]
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise _silent(self._address, error) from error
        total: dict[str, float] = {}
        for node in nodes:
            if node["state"] == "ALIVE":
                for name, amount in node["resources_total"].items():
                    total[name] = total.get(name, 0.0) + amount
        return total

    def look(self, job: str) -> Seen | None:
        """A job; None where the cluster knows none of that name."""
        info = self._info(job)
        if info is None:
            return None
        if not info.status.is_terminal():
            return Seen(False, None, 0.0)
        code = info.driver_exit_code
        if info.status == JobStatus.SUCCEEDED:
            code = 0
        elif info.status == JobStatus.STOPPED or code == 0:
            code = None
        began, ended = info.start_time or 0, info.end_time or info.start_time or 0
        message = (info.message or "").strip().splitlines()
        return Seen(True, code, max(0, ended - began) / 1000, message[-1] if message else "")

    def submit(
        self, job: str, script: str, arguments: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        """Run a program of `jobs/` under a name, on the nodes that are kept for programs if there
        are some; nothing happens where there is a job of it."""
        has_drivers = DRIVER in self.resources()
        known = {COMMIT_VARIABLE: commit(ROOT) or "", **variables}
        try:
            self._client.submit_job(
                entrypoint=shlex.join(["python", script, *arguments]),
                submission_id=job,
                entrypoint_resources={DRIVER: 1.0} if has_drivers else None,
                runtime_env={"working_dir": str(ROOT), "env_vars": known},
                metadata={"script": script, "commit": known[COMMIT_VARIABLE]},
            )
        except (OSError, RuntimeError) as error:
            if self._info(job) is None:
                raise _silent(self._address, error) from error

    def stop(self, job: str) -> None:
        """End a job at once; nothing happens where it has ended."""
        try:
            self._client.stop_job(job)
        except (OSError, RuntimeError) as error:
            if self._info(job) is not None:
                raise _silent(self._address, error) from error

    def _info(self, job: str) -> Any:
        try:
            return self._client.get_job_info(job)
        except RuntimeError as error:
            if "does not exist" in str(error):
                return None
            raise _silent(self._address, error) from error
        except OSError as error:
            raise _silent(self._address, error) from error


def _silent(address: str, error: Exception) -> ClusterError:
    return ClusterError(
        f"the job API of a Ray cluster was expected at {address}: {error}. Nothing is lost: what "
        "was decided stands in the campaign's ledger, and the next tick carries it out. Correct "
        "address=..., or set RAY_AUTH_TOKEN where the cluster asks for a token."
    )
