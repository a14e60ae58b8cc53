"""On which nodes the workers run: known after each start, and decided on before the next.

Ray asks nobody about failed nodes; but a callback of its controller may give the workers labels to
be placed by (`on_controller_start_worker_group`, a developer's interface of Ray 2.60), and every
node carries its own id as a label.
"""

import logging
import time
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import ray
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from system.launch.retry_policy import Decision

NODE_LABEL = "ray.io/node-id"

log = logging.getLogger(__name__)


# Of the process that Ray's controller is. Its callbacks and its rule for the number of workers come
# to it from the driver one by one, and so share no object that one could tell the other with.
_left_out_here: set[str] = set()


def left_out_here() -> frozenset[str]:
    """The nodes that the workers of this process's controller go without."""
    return frozenset(_left_out_here)


class Placement(WorkerGroupCallback, ControllerCallback):
    """Runs beside Ray's controller; `nodes` are those of the workers that run or ran last.

    `fewest` are the workers that the run cannot go without, `labels` those which a node of theirs
    carries, `kept` is what they leave to others.
    """

    def __init__(
        self,
        fewest: int,
        per_worker: Mapping[str, float],
        *,
        labels: Mapping[str, str] | None = None,
        kept: Mapping[str, float] | None = None,
    ) -> None:
        self.nodes: dict[int, str] = {}  # by rank
        self.left_out: set[str] = set()
        self._fewest = fewest
        self._per_worker = dict(per_worker)
        self._labels = dict(labels or {})
        self._kept = dict(kept or {})
        self._wait_s = 0.0

    def obey(self, decision: Decision) -> None:
        """Wait, and leave a node out, when the next workers are placed."""
        self._wait_s = decision.wait_s
        if decision.without_node is not None:
            self.left_out.add(decision.without_node)
            _left_out_here.add(decision.without_node)

    def spare(self) -> frozenset[str]:
        """The nodes without any one of which as many workers as must be still fit."""
        there = {
            node["NodeID"]: node["Resources"]
            for node in ray.nodes()
            if node["Alive"] and node["NodeID"] not in self.left_out and carries(node, self._labels)
        }
        return spare_nodes(there, self._fewest, self._per_worker, self._kept)

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


def spare_nodes(
    nodes: Mapping[str, Mapping[str, float]],
    workers: int,
    wanted: Mapping[str, float],
    kept: Mapping[str, float],
) -> frozenset[str]:
    """Those of the nodes (resources by id) without any one of which so many workers still fit."""
    found = set()
    for name in nodes:
        others = [each for other, each in nodes.items() if other != name]
        fitting = sum(room([each], wanted, {}) for each in others)
        if min(fitting, room(others, wanted, kept)) >= workers:
            found.add(name)
    return frozenset(found)


def room(
    nodes: Sequence[Mapping[str, float]], wanted: Mapping[str, float], kept: Mapping[str, float]
) -> int:
    """How many workers fit on nodes of these resources where some are kept for other work, were
    all nodes one."""
    counts = [
        (sum(node.get(name, 0.0) for node in nodes) - kept.get(name, 0.0)) // amount
        for name, amount in wanted.items()
        if amount > 0
    ]
    return max(0, int(min(counts, default=0)))
