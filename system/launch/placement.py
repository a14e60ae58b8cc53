"""On which nodes the workers run: known after each start, and decided on before the next.

Ray asks nobody about failed nodes; but a callback of its controller may give the workers labels to
be placed by (`on_controller_start_worker_group`, a developer's interface of Ray 2.60), and every
node carries its own id as a label.
"""

import logging
import time
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import ray
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from system.launch.retry_policy import Decision

NODE_LABEL = "ray.io/node-id"

log = logging.getLogger(__name__)


class Placement(WorkerGroupCallback, ControllerCallback):
    """Runs beside Ray's controller; `nodes` are those of the workers that run or ran last."""

    def __init__(
        self, workers: int, per_worker: Mapping[str, float], labels: Mapping[str, str] | None = None
    ) -> None:
        self.nodes: dict[int, str] = {}  # by rank
        self.left_out: set[str] = set()
        self._workers = workers
        self._per_worker = dict(per_worker)
        self._labels = dict(labels or {})
        self._wait_s = 0.0

    def obey(self, decision: Decision) -> None:
        """Wait, and leave a node out, when the next workers are placed."""
        self._wait_s = decision.wait_s
        if decision.without_node is not None:
            self.left_out.add(decision.without_node)

    def spare(self) -> frozenset[str]:
        """The nodes without any one of which the workers still fit."""
        workers = len(self.nodes) or self._workers
        nodes = [node for node in ray.nodes() if carries(node, self._labels)]
        return spare_nodes(nodes, self._per_worker, workers, self.left_out)

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Ray's call once the workers' processes are there."""
        self.nodes = {
            place.distributed_context.world_rank if place.distributed_context else number:
                place.metadata.node_id
            for number, place in enumerate(worker_group.get_workers())
        }  # fmt: skip

    def on_controller_start_worker_group(
        self, *, scaling_config: Any, num_workers: int
    ) -> dict[str, str] | None:
        """Ray's call before the workers are placed: labels of the nodes that may be taken."""
        wait_s, self._wait_s = self._wait_s, 0.0
        time.sleep(wait_s)  # nothing runs now, and the controller has nothing else to do
        if not self.left_out:
            return None
        # They stand in the place of the labels that the workers are wanted with otherwise.
        return self._labels | {NODE_LABEL: f"!in({','.join(sorted(self.left_out))})"}


def carries(node: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether one of Ray's list of nodes has all these labels."""
    found = node.get("Labels") or {}
    return all(found.get(name) == value for name, value in labels.items())


def fitting(
    nodes: Iterable[Mapping[str, Any]],
    per_worker: Mapping[str, float],
    left_out: Iterable[str] = (),
) -> dict[str, int]:
    """How many workers fit on each living node of Ray's list, by its id."""
    without = set(left_out)
    return {
        node["NodeID"]: min(
            int(node["Resources"].get(name, 0.0) // amount)
            for name, amount in per_worker.items()
            if amount
        )
        for node in nodes
        if node["Alive"] and node["NodeID"] not in without
    }


def spare_nodes(
    nodes: Iterable[Mapping[str, Any]],
    per_worker: Mapping[str, float],
    workers: int,
    left_out: Iterable[str],
) -> frozenset[str]:
    """Those of Ray's list of nodes without any one of which so many workers still fit."""
    found = fitting(nodes, per_worker, left_out)
    total = sum(found.values())
    return frozenset(name for name, fit in found.items() if total - fit >= workers)
