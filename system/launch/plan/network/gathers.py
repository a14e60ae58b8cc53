"""Which weights stage 3 gathers when: what DeepSpeed's coordinator does once it knows the order.

A module at a time, forward and back. Before each one the weights that it lacks are gathered, then
further ones ahead, as many as a bucket and `live` let; after it they go, unless they are used again
within `reuse` numbers or the look ahead has counted on them. Small weights are never let go.

Source: DeepSpeed 0.19.8, runtime/zero/partitioned_param_coordinator.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from itertools import accumulate

from system.engine.deepspeed_config import BUCKET_ELEMENTS


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers of weights, by DeepSpeed's settings: ours, and its own where we set none."""

    bucket: int = BUCKET_ELEMENTS  # reduce_bucket_size
    ahead: int = BUCKET_ELEMENTS  # stage3_prefetch_bucket_size
    live: int = 1_000_000_000  # stage3_max_live_parameters
    reuse: int = 1_000_000_000  # stage3_max_reuse_distance
    kept: int = 100_000  # stage3_param_persistence_threshold


DEFAULTS = Limits()
Gathers = list[tuple[bool, tuple[int, ...]]]


def gathers(sizes: Sequence[int], trained: Sequence[bool], limits: Limits) -> Gathers:
    """One pass: for each all-gather whether it is on the way forward, and the weights' places.

    A weight is taken for a module of its own, used once forward in the order given, and once on the
    way back where it is trained.
    """
    count = len(sizes)
    order = [*range(count), *(place for place in reversed(range(count)) if trained[place])]
    run = _Run(sizes, order, limits)
    for moment in range(len(order)):
        run.visit(moment)
    return [(moment < count, places) for moment, places in run.found]


@dataclass(slots=True)
class _Run:
    sizes: Sequence[int]
    order: list[int]
    limits: Limits
    found: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    here: set[int] = field(default_factory=set)
    live: int = 0
    looked: int = 0  # how far ahead of the order, as a moment
    counted_on: dict[int, int] = field(default_factory=dict)  # the last moment looked at, by weight
    before: list[int] = field(init=False)  # numbers of all that is used before a moment
    again: dict[int, int] = field(init=False)  # the moment of a weight's last use

    def __post_init__(self) -> None:
        self.before = [0, *accumulate(self.sizes[place] for place in self.order)]
        self.again = {place: moment for moment, place in enumerate(self.order)}
        self.here |= {place for place, size in enumerate(self.sizes) if size <= self.limits.kept}

    def visit(self, moment: int) -> None:
        """Use the weight of a moment."""
        place = self.order[moment]
        if place not in self.here:
            self._gather(moment, (place,))
        if self.looked <= moment:
            self.looked = moment + 1
            self.counted_on[place] = max(self.counted_on.get(place, -1), moment)
        self._look_ahead(moment)
        if self._may_go(moment, place):
            self.here.discard(place)
            self.live -= self.sizes[place]

    def _look_ahead(self, moment: int) -> None:
        most = min(self.limits.live - self.live, self.limits.ahead)
        taken: list[int] = []
        numbers = 0
        while self.looked < len(self.order) and numbers < most:
            place = self.order[self.looked]
            self.counted_on[place] = self.looked
            if place not in self.here and place not in taken:
                taken.append(place)
                numbers += self.sizes[place]
            self.looked += 1
        if taken:
            self._gather(moment, tuple(taken))

    def _gather(self, moment: int, places: tuple[int, ...]) -> None:
        self.found.append((moment, places))
        self.here |= {*places}
        self.live += sum(self.sizes[place] for place in places)

    def _may_go(self, moment: int, place: int) -> bool:
        if self.sizes[place] <= self.limits.kept or self.counted_on.get(place, -1) > moment:
            return False
        again = self.again.get(place, -1)
        if again <= moment:
            return True
        return self.before[again] - self.before[moment + 1] >= self.limits.reuse
