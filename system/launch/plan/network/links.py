"""How long a collective takes, by the cost model that NCCL itself chooses its algorithms with.

    seconds = latency(steps) + bytes / bandwidth

A ring passes through all workers, so its latency grows with their number; a tree's, which only an
all-reduce can use, grows with the logarithm of the nodes. Each of NCCL's three protocols trades
bandwidth for latency; the fastest of all counts. Within a node every worker reaches `node_gb_s`;
between nodes each reaches what all network cards of its node reach together, since a node's rings
leave it by different cards, and never more than within.

Source: NVIDIA/nccl, src/graph/tuning.cc (latencies of 2.17, bandwidths and the ring's overhead per
network step of 2.21); NVLink SHARP and reductions in switches are left out.
"""

import math
from dataclasses import dataclass
from typing import Literal

from system.launch.plan.network.messages import Kind

MICRO = 1e-6
GIGA = 1e9
Wire = Literal["nvlink", "pcie"]


@dataclass(frozen=True, slots=True)
class Links:
    """How the GPUs of a kind are wired."""

    gpus_per_node: int
    wire: Wire
    node_gb_s: float  # what one GPU reaches within a node, one way, 1e9 bytes a second
    network_gb_s: float  # and between nodes, for each GPU of a node

    def nodes(self, workers: int) -> int:
        """How many are needed."""
        return math.ceil(workers / self.gpus_per_node)

    def bus(self, workers: int) -> float:
        """Bytes a second that each worker passes on in a ring."""
        if self.nodes(workers) == 1:
            return GIGA * self.node_gb_s
        return GIGA * min(self.node_gb_s, self.network_gb_s * self.gpus_per_node)


@dataclass(frozen=True, slots=True)
class Protocol:
    """One of NCCL's, with microseconds for a start and for a step over each kind of wire."""

    share: float  # of the bandwidth
    start: float
    nvlink: float
    pcie: float
    network: float

    def within(self, wire: Wire) -> float:
        """A step inside a node."""
        return self.nvlink if wire == "nvlink" else self.pcie


RINGS = (
    Protocol(1 / 4, 3.6, 0.47, 1.0, 2.7),  # LL
    Protocol(0.92, 10.0, 1.9, 2.5, 4.0),  # LL128
    Protocol(1.0, 8.4, 3.4, 5.7, 9.6),  # Simple
)
TREES = (
    Protocol(0.92 / 3.8, 4.4, 0.52, 1.0, 5.0),
    Protocol(0.92 * 120 / 128, 4.4, 1.25, 1.9, 8.5),
    Protocol(0.92, 0.0, 28.0, 28.0, 28.0),
)
# A step of a ring inside a node is no faster than its proxy posts to the network: microseconds, for
# LL, LL128 and Simple.
POSTING = (1.0, 1.0, 3.0)


def seconds(kind: Kind, size: float, workers: int, links: Links) -> float:
    """One collective whose whole tensor has `size` bytes; 0 for a single worker."""
    if workers == 1 or size == 0:
        return 0.0
    times = [_ring(kind, size, workers, links, which) for which in range(len(RINGS))]
    if kind == "all-reduce":
        times += [_tree(size, workers, links, each) for each in TREES]
    return min(times)


def latency(kind: Kind, workers: int, links: Links) -> float:
    """What a collective takes that has hardly a byte."""
    return seconds(kind, 1, workers, links)


def _ring(kind: Kind, size: float, workers: int, links: Links, which: int) -> float:
    protocol, nodes = RINGS[which], links.nodes(workers)
    rounds = 2 if kind == "all-reduce" else 1
    steps = rounds * (workers - 1)
    between = 0 if nodes == 1 else rounds * nodes if kind == "all-reduce" else nodes - 1
    inside = protocol.within(links.wire)
    if nodes > 1:
        inside = max(inside, POSTING[which])
    waited = protocol.start + max(0, steps - between) * inside + between * protocol.network
    moved = size * steps / workers
    return MICRO * waited + moved / (protocol.share * links.bus(workers))


def _tree(size: float, workers: int, links: Links, protocol: Protocol) -> float:
    """Up and down: inside a node a chain, between nodes a tree of two branches."""
    nodes = links.nodes(workers)
    chain = math.ceil(workers / nodes) - 1
    depth = math.floor(math.log2(nodes))
    inside = protocol.within(links.wire)
    waited = protocol.start + 2 * (chain * inside + depth * protocol.network)
    return MICRO * waited + 2 * size / (protocol.share * links.bus(workers))
