"""A Ray of several nodes on this machine, which tests add, drain and kill: client and program.

Ray reads its settings when it is imported, so its nodes are started by a program of their own
(this file), which is told what to do line by line and ends with its input:

    add 1 → id of the new node          drain <id> <seconds> → ok
    of <process> → id of its node       kill <id> → ok
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).parents[2]
OBJECT_STORE_BYTES = 80 * 2**20
PATIENCE_S = 180
ATTEMPTS = 6


class Nodes:
    """The nodes of one Ray, of which the head has no CPUs."""

    def __init__(self, process: "subprocess.Popen[str]", environment: dict[str, str]) -> None:
        self._process = process
        self.environment = environment | {"RAY_ADDRESS": self._answer()}

    def add(self, cpus: int = 1) -> str:
        """Start a node; its id."""
        return self._ask(f"add {cpus}")

    def of(self, process: int) -> str:
        """The node that one of Ray's workers runs on."""
        return self._ask(f"of {psutil.Process(process).ppid()}")

    def drain(self, node: str, seconds: int) -> None:
        """Announce that a node goes after so many seconds."""
        assert self._ask(f"drain {node} {seconds}") == "ok"

    def kill(self, node: str) -> None:
        """End a node's processes at once."""
        assert self._ask(f"kill {node}") == "ok"

    def _ask(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("nodes: "):
                return line.removeprefix("nodes: ").strip()
        raise AssertionError("the program that keeps the nodes has ended")


@contextmanager
def ray_nodes(logs: Path, **settings: str) -> Iterator[Nodes]:
    """A head without CPUs, and what a test adds; all of it ends with the block.

    `settings` are variables of the environment that Ray's nodes and its clients have besides. What
    Ray said lies in the folder `logs` then.
    """
    folder = tempfile.mkdtemp(prefix="nodes-", dir="/tmp")  # sockets need a short path
    environment = {
        "RAY_TMPDIR": folder,
        "RAY_AUTH_MODE": "disabled",  # everything listens on loopback, for the time of a test
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        **settings,
    }
    known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    logs.mkdir(parents=True)
    with (logs / "nodes.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env=known | environment | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield Nodes(process, environment)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE_S)
            with suppress(OSError, shutil.Error):
                shutil.copytree(f"{folder}/ray/session_latest/logs", logs, dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """The program."""
    import ray
    from ray.cluster_utils import Cluster
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    place = {"node_ip_address": LOOPBACK, "object_store_memory": OBJECT_STORE_BYTES}
    cluster, nodes = Cluster(), {}
    started(cluster, **place, num_cpus=0, include_dashboard=False)
    say(cluster.address)
    for line in sys.stdin:
        match line.split():
            case ["add", cpus]:
                node = started(cluster, **place, num_cpus=int(cpus))
                nodes[node.node_id] = node
                say(node.node_id)
            case ["of", raylet]:
                say(next(name for name, node in nodes.items() if raylet in raylets(node)))
            case ["drain", name, seconds]:
                accepted, why = ray._raylet.GcsClient(address=cluster.address).drain_node(
                    name,
                    DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"),
                    "a test takes it",
                    time.time_ns() // 1_000_000 + 1000 * int(seconds),
                )
                say("ok" if accepted else why)
            case ["kill", name]:
                cluster.remove_node(nodes.pop(name), allow_graceful=False)
                say("ok")
    cluster.shutdown()


def started(cluster: Any, **settings: Any) -> Any:
    """A new node. Ray gives its processes 15 and 30 s to start, which a busy machine exceeds."""
    for attempt in range(ATTEMPTS):
        try:
            node = cluster.add_node(**settings, wait=False)
            cluster._wait_for_node(node, PATIENCE_S)
        except Exception as error:  # Ray raises nothing more special
            print(f"node not started, attempt {attempt + 1}: {error}", file=sys.stderr, flush=True)
        else:
            return node
    raise TimeoutError(f"no node started in {ATTEMPTS} attempts")


def raylets(node: Any) -> list[str]:
    """The processes that are a node's own raylet; workers are their children."""
    return [str(one.process.pid) for one in node.all_processes["raylet"]]


def say(answer: str) -> None:
    """Answer a command; Ray prints as well."""
    print(f"nodes: {answer}", flush=True)


if __name__ == "__main__":
    main()
