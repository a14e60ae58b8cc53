"""How long an update takes on so many GPUs: computation, and what of the network cannot hide.

Which collective can lie behind which computation follows from how DeepSpeed calls it: gathers of
stage 3 are asked for ahead and waited for later, so they hide behind the pass that they are for;
gradients of stages 2 and 3 hide behind the way back where `overlap_comm` is set; whatever comes
after the last pass (all of stages 0 and 1, moved weights, norms) hides behind nothing. Stage 3 also
handles every worker's piece of every weight in Python: where that takes longer than the GPU, it is
what an update takes.
"""

from collections import Counter
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from system.launch.plan.network.links import Links
from system.launch.plan.network.links import seconds
from system.launch.plan.network.messages import Message

# Seconds of Python for one worker's piece of one weight, put together or taken apart in a gather or
# a reduce-scatter of stage 3: `jobs/benchmark.py scaling` measures it; a faster core takes less.
PIECE_S = 5e-6


@dataclass(frozen=True, slots=True)
class Work:
    """What a GPU computes in an update."""

    forward_s: float
    backward_s: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.forward_s + self.backward_s


@dataclass(frozen=True, slots=True)
class Step:
    """One update on so many GPUs."""

    compute_s: float
    network_s: float  # all collectives, one after another
    exposed_s: float  # what of that the GPU waits for
    host_s: float  # Python between the kernels that grows with the workers
    latency_s: float  # what of the network's time no bandwidth would shorten
    largest: str  # the kind of collective that most of the network's time goes to

    @property
    def seconds(self) -> float:
        """The update."""
        return max(self.compute_s + self.exposed_s, self.host_s)

    @property
    def efficiency(self) -> float:
        """Share of it that the GPU computes."""
        return self.compute_s / self.seconds if self.seconds else 1.0

    @property
    def binds(self) -> str:
        """What keeps it from being all computation, in a word or two."""
        if self.host_s > self.compute_s + self.exposed_s:
            return "Python"
        if not self.largest:
            return "nothing"
        return "latency" if self.latency_s > self.network_s / 2 else f"{self.largest}s"


def step(
    sent: Sequence[Message], work: Work, workers: int, links: Links, *, behind: frozenset[str]
) -> Step:
    """An update that sends these messages. `behind` names the kinds that hide behind the pass in
    which they are sent."""
    by_kind: dict[str, float] = defaultdict(float)
    hidden: dict[str, float] = defaultdict(float)
    exposed = shortest = host = 0.0
    for message, times in Counter(sent).items():
        taken = times * seconds(message.kind, message.size, workers, links)
        shortest += times * seconds(message.kind, 1, workers, links)
        host += times * PIECE_S * message.pieces(workers)
        by_kind[message.kind] += taken
        if message.when != "step" and message.kind in behind:
            hidden[message.when] += taken
        else:
            exposed += taken
    exposed += max(0.0, hidden["forward"] - work.forward_s)
    exposed += max(0.0, hidden["backward"] - work.backward_s)
    return Step(
        compute_s=work.seconds,
        network_s=sum(by_kind.values()),
        exposed_s=exposed,
        host_s=host,
        latency_s=shortest,
        largest=max(by_kind, key=lambda kind: by_kind[kind], default=""),
    )


def hiding(stage: int, *, overlap: bool) -> frozenset[str]:
    """The kinds of collectives that a stage sends while the GPU computes, for `overlap_comm`."""
    gathers = {"all-gather"} if stage == 3 else set[str]()
    gradients = {"all-reduce", "reduce-scatter"} if overlap and stage > 1 else set[str]()
    return frozenset(gathers | gradients)
