"""How many workers a run goes on with: only as many as its batch can be cut for, and all saved.

Ray Train's own policy with five changes (written against Ray 2.60, whose developer API this is):

- The number of workers is one of the recipe's world sizes: the largest that the cluster has room
  for beside what is kept for evaluations.
- A healthy group is not ended in the midst of its work. It is asked to save and to stand still
  first, and only then replaced, so nothing is trained twice.
- The cluster is looked at when the question comes. Ray's reservations are up to 20 s old, and a
  group that starts where a node was waits out `cluster.start_timeout_s`.
- Nodes that are being drained, or do not answer, do not count. Ray takes a node that is gone for
  alive until several of its health checks have failed.
- Nodes that are left out since workers failed there (`placement`) do not count either.
"""

import logging
import socket
import time
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy
from ray.train.v2._internal.execution.scaling_policy import NoopDecision
from ray.train.v2._internal.execution.scaling_policy import ResizeDecision
from ray.train.v2._internal.execution.scaling_policy import ScalingDecision

from system.launch.announcements import ask_to_make_way
from system.launch.announcements import has_made_way
from system.launch.placement import carries
from system.launch.placement import left_out_here
from system.launch.placement import room

ANSWER_TIMEOUT_S = 2.0
COORDINATOR_TIMEOUT_S = 10.0
LOOK_INTERVAL_S = 1.0
PROBES_AT_ONCE = 32

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Replacement:
    """A decided change of size, while the present workers save. Nothing here waits."""

    decision: ResizeDecision
    workers: Sequence[Any]  # Ray's, in order of their ranks
    patience_s: float
    _started: float = 0.0
    _answer: Any = None

    def begin(self) -> None:
        """Ask every worker to save and to stand still."""
        self._started = time.monotonic()
        for worker in self.workers:
            worker.execute_async(ask_to_make_way)

    def may_go_on(self) -> bool:
        """Whether all is saved, or that has taken too long."""
        if time.monotonic() - self._started > self.patience_s:
            log.warning("no save within %g s before a change of size", self.patience_s)
            return True
        if self._answer is None:
            self._answer = self.workers[0].execute_async(has_made_way)
        ready, _ = ray.wait([self._answer], timeout=0)
        if not ready:
            return False
        answer, self._answer = self._answer, None
        return bool(ray.get(answer))


class SavingScalingPolicy(ElasticScalingPolicy):
    """Decides beside Ray's controller how many workers there are."""

    def __init__(
        self,
        scaling_config: ray.train.ScalingConfig,
        world_sizes: Sequence[int],
        kept: Mapping[str, float],
        *,
        labels: Mapping[str, str],
        patience_s: float,
    ) -> None:
        super().__init__(scaling_config)
        self._labels = dict(labels)
        self._world_sizes = tuple(world_sizes)
        self._kept = dict(kept)
        self._patience_s = patience_s
        self._replacement: Replacement | None = None
        self._looked = float("-inf")
        self._left_out: frozenset[str] = frozenset()  # at that look
        self._reserved: dict[str, Any] | None = None
        self._room = 0
        self._in_vain = 0  # workers for which there is room on nodes that are left out

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        """The size of a group that is to start."""
        self._replacement = None
        return super().make_decision_for_non_running_worker_group()

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> ScalingDecision:
        """Another size once the cluster has changed and the present workers have saved."""
        if self._replacement is not None:
            if not self._replacement.may_go_on():
                return NoopDecision()
            decision, self._replacement = self._replacement.decision, None
            return decision
        decision = super().make_decision_for_running_worker_group(
            worker_group_state, worker_group_status
        )
        if not isinstance(decision, ResizeDecision):
            return decision
        self._replacement = Replacement(decision, worker_group_state.workers, self._patience_s)
        self._replacement.begin()
        return NoopDecision()

    def _get_num_workers_for_resource_request(self) -> int:
        # Ray reserves places without knowing which nodes are left out; those places are of no use.
        return super()._get_num_workers_for_resource_request() + self._in_vain

    def _count_possible_workers(self, reserved_resources: Mapping[str, Any]) -> int:
        possible = super()._count_possible_workers(reserved_resources)
        return largest_up_to(min(possible, self._room), self._world_sizes)

    def _get_reserved_resources(self) -> Mapping[str, Any] | None:
        left_out, age_s = left_out_here(), time.monotonic() - self._looked
        if age_s < LOOK_INTERVAL_S and left_out == self._left_out:
            return self._reserved
        self._left_out = left_out
        self._reserved = self._look()
        self._looked = time.monotonic()
        return self._reserved

    def _look(self) -> dict[str, Any] | None:
        """What the cluster keeps for this run by now; None where that cannot be known."""
        asked = self._autoscaling_coordinator.get_reserved_resources.remote(
            self._requester_id, recompute=True
        )
        try:
            reserved: dict[str, Any] = ray.get(asked, timeout=COORDINATOR_TIMEOUT_S)
            present = present_nodes(self._labels, self._left_out)
            without = resources_of(self._left_out)
        except Exception:  # whatever it is, the group stays as it is until the next look
            log.warning("the cluster's resources are not known now", exc_info=True)
            return None
        wanted = self.scaling_config._resources_per_worker_not_none
        self._room = room(list(present.values()), wanted, self._kept)
        self._in_vain = sum(room([each], wanted, {}) for each in without)
        return {name: part for name, part in reserved.items() if name in present}


def largest_up_to(most: int, sizes: Sequence[int]) -> int:
    """The largest of the sizes that does not exceed `most`; 0 if all do."""
    return max((size for size in sizes if size <= most), default=0)


def present_nodes(
    labels: Mapping[str, str], left_out: Collection[str] = ()
) -> dict[str, dict[str, float]]:
    """The resources of the nodes with these labels that answer, are not being drained and not left
    out, by their ids."""
    going = ray._private.state.state.get_draining_nodes()  # as Ray's own watcher asks
    without = {*going, *left_out}
    nodes = [
        node
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in without and carries(node, labels)
    ]
    places = [(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in nodes]
    with ThreadPoolExecutor(PROBES_AT_ONCE) as probes:
        answered = list(probes.map(answers, places))
    return {
        node["NodeID"]: node["Resources"]
        for node, is_there in zip(nodes, answered, strict=True)
        if is_there
    }


def resources_of(names: Collection[str]) -> list[dict[str, float]]:
    """The resources of those of the nodes, by their ids, that are there."""
    return [n["Resources"] for n in ray.nodes() if n["Alive"] and n["NodeID"] in names]


def answers(place: tuple[str, int]) -> bool:
    """Whether anything listens at an address and port."""
    try:
        socket.create_connection(place, ANSWER_TIMEOUT_S).close()
    except OSError:
        return False
    return True
