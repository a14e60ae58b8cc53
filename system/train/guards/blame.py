"""Which term, worker and samples an update with values that are not finite is owed to.

Looked for only after a step has said that it was skipped, so that nothing is paid for it before.
"""

import math
from dataclasses import dataclass

import torch

from system.foundation.world import World
from system.train.report import Outcome
from system.train.report import Pass

MOST_KEYS = 64  # of one pass in the ledger; the positions stand for all
TOTAL = "loss/total"


@dataclass(frozen=True, slots=True)
class Blame:
    """A pass of one worker in which terms of the loss were not finite."""

    rank: int
    terms: list[str]
    start: int  # positions of its samples
    stop: int
    keys: list[str]

    def __str__(self) -> str:
        named = ", ".join(self.keys[:3]) + (" …" if len(self.keys) > 3 else "")
        return (
            f"{', '.join(self.terms)} of worker {self.rank} at positions {self.start:,} to "
            f"{self.stop:,} ({named})"
        )


def blame(world: World, outcome: Outcome) -> list[Blame]:
    """Every pass with a term that is not finite, by position. All workers must ask.

    None has one where only a gradient is not finite: by then it was summed over all workers.
    """
    own = [found for each in outcome.passes if (found := _blame(world.rank, each))]
    gathered = world.gather(own)
    return sorted((each for part in gathered for each in part), key=lambda each: each.start)


def reason(found: list[Blame]) -> str:
    """What was found, in words."""
    if not found:
        return "a gradient is not finite, while every term of the loss is"
    more = f", and {len(found) - 1} more passes" if len(found) > 1 else ""
    return f"not finite: {found[0]}{more}"


def _blame(rank: int, each: Pass) -> Blame | None:
    names = [name for name in each.values if name.startswith("loss/")]
    values = torch.stack([each.values[name].detach().double() for name in names]).tolist()
    wrong = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
    if not wrong:
        return None
    terms = [name for name in wrong if name != TOTAL] or wrong
    stop = each.start + len(each.keys)
    return Blame(rank, terms, each.start, stop, list(each.keys[:MOST_KEYS]))
