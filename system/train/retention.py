"""Which checkpoints stay: a rule over what is whole, what was measured and what was taken back.

The newest, some of the best as evaluated, one of every so many images, the last one before each
spike, and whatever still waits for its evaluation. What a spike has tainted takes nobody's place.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

from system.engine.checkpoints import Checkpoint
from system.engine.checkpoints import CheckpointStore
from system.evaluation.lag import waiting
from system.evaluation.ruling import ruling_score
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation
from system.foundation.settings.run import Run
from system.telemetry.ledger import Event
from system.train.guards.rollback import Rollback
from system.train.guards.rollback import rollbacks_in
from system.train.guards.rollback import taint


@dataclass(frozen=True, slots=True)
class Known:
    """What a run's ledger tells of its checkpoints, by the images they have seen."""

    scores: Mapping[int, float]  # the lowest is best
    awaited: frozenset[int]  # their evaluation was asked for and has no outcome yet
    rollbacks: tuple[Rollback, ...] = ()


def ruling_metric(recipe: Recipe) -> str | None:
    """The number that decides which checkpoints are best, the lowest being best; None: none does.

    A run that trains no flow is judged by its reconstructions.
    """
    if isinstance(recipe.evaluation, NoEvaluation):
        return None
    if recipe.objective.route == "autoencoder_only":
        return "evaluation/rfid"
    return ruling_score(recipe.evaluation.kind)


def known(recipe: Recipe, events: Sequence[Event]) -> Known:
    """What a ledger's events come to."""
    metric = ruling_metric(recipe)
    scores = {
        event["images_seen"]: event["values"][metric]
        for event in events
        if event["kind"] == "evaluation" and metric in event["values"]
    }
    return Known(scores, frozenset(waiting(events)), rollbacks_in(events))


def kept(whole: Sequence[Checkpoint], run: Run, known: Known) -> set[Checkpoint]:
    """Those of the whole checkpoints, oldest first, that stay."""
    sound = [one for one in whole if taint(known.rollbacks, one.images_seen, one.attempt) is None]
    stays = {*whole[-1:], *sound[-run.keep_checkpoints :]}
    measured = [one for one in sound if one.images_seen in known.scores]
    stays |= {*sorted(measured, key=lambda one: known.scores[one.images_seen])[: run.keep_best]}
    stays |= {*_milestones(sound, run.keep_every_images)}
    stays |= {one for each in known.rollbacks if (one := _before(sound, each)) is not None}
    return stays | {one for one in whole if one.images_seen in known.awaited}


def prune(store: CheckpointStore, recipe: Recipe, events: Sequence[Event]) -> list[Checkpoint]:
    """Remove what does not stay, and return it. The newest whole one stays in any case."""
    return store.prune(lambda whole: kept(whole, recipe.run, known(recipe, events)))


def _milestones(sound: Sequence[Checkpoint], every: int | None) -> Iterable[Checkpoint]:
    """The first one at or after each multiple of `every` images."""
    first: dict[int, Checkpoint] = {}
    for one in sound if every else ():
        assert every is not None
        if passed := one.images_seen // every:
            first.setdefault(passed, one)
    return first.values()


def _before(sound: Sequence[Checkpoint], rollback: Rollback) -> Checkpoint | None:
    """The last one that a spike has not touched, where the run was taken back for one."""
    if not rollback.attempt:
        return None
    return max((one for one in sound if one.images_seen <= rollback.start), default=None)
