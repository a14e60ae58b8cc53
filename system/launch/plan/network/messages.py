"""What one update sends in any of ZeRO's stages: every collective, from the weights' sizes alone.

It follows DeepSpeed 0.19.8 under `engine.deepspeed_config`, which differs from what papers draw:
stage 1 in bf16 sums whole gradients once after the last pass (BF16_Optimizer, in bf16, though it
accumulates in float32); stage 2 all-reduces every bucket in every pass and keeps its part; stage 3
gathers a weight again on the way back only if `stage3_max_reuse_distance` lies between. The suite
`scaling` of jobs/benchmark.py counts what real engines send and compares.
"""

import math
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from system.engine.optimiser import parameter_groups
from system.launch.plan.network.gathers import DEFAULTS
from system.launch.plan.network.gathers import Limits
from system.launch.plan.network.gathers import gathers

Kind = Literal["all-reduce", "reduce-scatter", "all-gather", "broadcast"]
When = Literal["forward", "backward", "step"]

UNTRAINED = -1
WIDE, DOUBLE = 4, 8  # bytes of a number in float32 and float64
# The engine's MEMORY_OPT_ALLREDUCE_SIZE: numbers of one all-reduce where it reduces itself.
WHOLE_BUCKET = 500_000_000
ALIGNMENT = 2  # numbers, times the workers, to which a group's flat tensor is filled up


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight: its numbers, and which of the optimiser's groups has it."""

    numbers: int
    group: int

    @property
    def is_trained(self) -> bool:
        """Whether it has gradients."""
        return self.group != UNTRAINED


@dataclass(frozen=True, slots=True)
class Message:
    """One collective of an update: `size` bytes is the whole tensor that all workers end up with or
    begin with, padding included."""

    kind: Kind
    when: When
    size: int
    weights: int = 0  # how many are in it

    def sent(self, workers: int) -> float:
        """Bytes that each worker sends, and receives, where they stand in a ring."""
        share = (workers - 1) / workers
        return self.size * share * (2 if self.kind == "all-reduce" else 1)

    def pieces(self, workers: int) -> int:
        """Parts that stage 3 handles one by one: those of every weight for every worker, in a pass;
        nobody else puts a tensor together from more than whole weights."""
        is_cut = self.kind in ("all-gather", "reduce-scatter") and self.when != "step"
        return self.weights * workers if is_cut else 0


def weights_of(module: nn.Module) -> tuple[Weight, ...]:
    """The weights of an engine's module in the order in which they stand there."""
    groups = [group["params"] for group in parameter_groups(module, 0.0)]
    place = {
        id(weight): number
        for number, group in enumerate(groups)
        for weight in group  # type: ignore[attr-defined]
    }
    return tuple(
        Weight(each.numel(), place.get(id(each), UNTRAINED)) for each in module.parameters()
    )


def messages(
    weights: Sequence[Weight],
    stage: int,
    narrow: int,
    workers: int,
    passes: int = 1,
    *,
    limits: Limits = DEFAULTS,
) -> list[Message]:
    """Every collective of an update of one engine; none for a single worker.

    `narrow` is the bytes of a number in a pass: 2 in bf16, 4 in float32.
    """
    if workers == 1:
        return []
    is_bf16 = narrow < WIDE
    trained = [each for each in weights if each.is_trained]
    if stage == 0:
        return [*_reduced(trained, narrow, "step", _once_over(WHOLE_BUCKET))]
    if stage == 1 and is_bf16:
        return [*_flat(trained, narrow, workers), *_regathered(trained, narrow, workers)]
    if stage in (1, 2):
        when: When = "backward" if stage == 2 else "step"
        times = passes if stage == 2 else 1
        once = [*_reduced(trained[::-1], narrow, when, _up_to(limits.bucket))]
        norms = _flags(len(_groups(trained)), WIDE)
        checks = _flags(int(is_bf16), 1)
        return [*(once * times), *checks, *norms, *_regathered(trained, narrow, workers)]
    return [*_cut(weights, narrow, workers, passes, limits)]


def starting(weights: Sequence[Weight], narrow: int, workers: int) -> list[Message]:
    """What a start sends besides: rank 0's weights, one by one."""
    if workers == 1:
        return []
    return [Message("broadcast", "step", narrow * each.numbers, 1) for each in weights]


def _groups(trained: Iterable[Weight]) -> list[int]:
    """Numbers of every group of the optimiser."""
    found: dict[int, int] = {}
    for each in trained:
        found[each.group] = found.get(each.group, 0) + each.numbers
    return list(found.values())


def _filled(numbers: int, workers: int) -> int:
    """Numbers of a group's flat tensor."""
    step = ALIGNMENT * workers
    return math.ceil(numbers / step) * step


def _flat(trained: Sequence[Weight], narrow: int, workers: int) -> Iterator[Message]:
    """BF16_Optimizer's: the flat tensors of all groups, padding included."""
    flat = [Weight(_filled(numbers, workers), 0) for numbers in _groups(trained)]
    return _reduced(flat, narrow, "step", _once_over(WHOLE_BUCKET))


def _regathered(trained: Sequence[Weight], narrow: int, workers: int) -> Iterator[Message]:
    """The moved weights of stages 1 and 2: a group in one piece, whatever the bucket size says."""
    for numbers in _groups(trained):
        yield Message("all-gather", "step", narrow * _filled(numbers, workers))


def _flags(count: int, size: int) -> list[Message]:
    """Norms, and whether all is finite."""
    return [Message("all-reduce", "step", size)] * count


def _reduced(weights: Sequence[Weight], narrow: int, when: When, cut: "Cut") -> Iterator[Message]:
    for bucket in cut.buckets([each.numbers for each in weights]):
        yield Message("all-reduce", when, narrow * sum(bucket), len(bucket))


def _cut(
    weights: Sequence[Weight], narrow: int, workers: int, passes: int, limits: Limits
) -> Iterator[Message]:
    """Stage 3, where every weight is cut over the workers and filled up to their multiple."""

    def filled(numbers: int) -> int:
        return narrow * workers * math.ceil(numbers / workers)

    sizes = [each.numbers for each in weights]
    trained = [each.numbers for each in weights if each.is_trained]
    fetched = gathers(sizes, [each.is_trained for each in weights], limits)
    buckets = _up_to(limits.bucket).buckets(trained[::-1])
    for _ in range(passes):
        for is_forward, places in fetched:
            size = sum(filled(sizes[place]) for place in places)
            when: When = "forward" if is_forward else "backward"
            yield Message("all-gather", when, size, len(places))
        for bucket in buckets:
            size = sum(filled(numbers) for numbers in bucket)
            yield Message("reduce-scatter", "backward", size, len(bucket))
    yield from _flags(len(_groups(each for each in weights if each.is_trained)), DOUBLE)
    for numbers in sizes:  # small weights stay on every worker until the step, one by one after it
        if numbers <= limits.kept:
            yield Message("all-gather", "step", filled(numbers), 1)


@dataclass(frozen=True, slots=True)
class Cut:
    """How numbers are put together: closed before it would pass `most`, or once it has."""

    most: int
    closes: Literal["before", "after"]

    def buckets(self, sizes: Sequence[int]) -> list[list[int]]:
        """Those sizes, put together in their order."""
        found: list[list[int]] = [[]]
        for size in sizes:
            if self.closes == "before" and found[-1] and sum(found[-1]) + size > self.most:
                found.append([])
            found[-1].append(size)
            if self.closes == "after" and sum(found[-1]) > self.most:
                found.append([])
        return [bucket for bucket in found if bucket]


def _up_to(most: int) -> Cut:
    return Cut(most, "before")


def _once_over(most: int) -> Cut:
    return Cut(most, "after")
