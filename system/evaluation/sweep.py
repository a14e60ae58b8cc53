"""What the command `jobs/sweep_sampling.py` is asked: which guidance, temperature and average draw
best.

Every cell draws with the same noise and the same labels, so cells differ by what they do with it
alone, and the error of a difference is far smaller than that of either number. The best cell is
drawn again with other seeds. Images go through in units that stay until the record is written, so a
sweep that was stopped goes on, and its bytes are the same for any crew and any batch.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from itertools import product
from statistics import fmean
from statistics import stdev
from typing import Annotated

from pydantic import Field
from pydantic import field_validator

from system.engine.released import is_released
from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.crews.crew import Crew
from system.evaluation.judged import AS_THE_RUN
from system.evaluation.judged import Judged
from system.evaluation.judged import settings_of
from system.evaluation.measured import changed
from system.evaluation.presets import PRESETS
from system.evaluation.protocol import Measurement
from system.evaluation.requests import run_folder_of
from system.evaluation.scores.jackknife import reach
from system.evaluation.scores.paired import paired_difference
from system.evaluation.studio import Studio
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_recipe
from system.evaluation.subject import run_of
from system.evaluation.sweep_record import Cell
from system.evaluation.sweep_record import FreshSeed
from system.evaluation.sweep_record import OverSeeds
from system.evaluation.sweep_record import Sweep
from system.evaluation.sweep_record import write_sweep
from system.evaluation.trial import Result
from system.evaluation.trial import Told
from system.evaluation.trial import Trial
from system.evaluation.trial import tell_nobody
from system.evaluation.yardstick import AnySettings
from system.foundation import storage
from system.foundation.config import recipe_from_mapping
from system.foundation.errors import BadInput
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import MannerChanges
from system.foundation.settings.record import Fraction
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Weight

CELL_IMAGES = 10_000  # of each cell, where a protocol's own numbers have more
TIED = 1.96  # paired errors


class Sweeping(MannerChanges, Judged):
    """The ways to draw from a checkpoint, and what to measure them by."""

    guidances: Annotated[tuple[Weight, ...], Field(min_length=1)] | None = Field(
        None, description=f"guidance weights to try, 0 for none; {AS_THE_RUN}"
    )
    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] | None = Field(
        None, description=f"spreads of the drawn noise to try; {AS_THE_RUN}"
    )
    averaging_decays: Annotated[tuple[Fraction, ...], Field(min_length=1)] | None = Field(
        None, description="averages of the weights to try, of those a run keeps; null: its first"
    )
    count: PositiveInt | None = Field(
        None,
        description="images of each cell; null: all of the digits protocol, else at most "
        f"{CELL_IMAGES}",
    )
    fresh_seeds: PositiveInt = Field(3, description="seeds that the best cell is drawn again with")
    fresh_count: PositiveInt | None = Field(
        None, description="images of each of these; null: as many as published numbers have"
    )

    @field_validator("guidances", "temperatures", "averaging_decays")
    @classmethod
    def _nothing_twice(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        twice = sorted({value for value in values or () if (values or ()).count(value) > 1})
        if twice:
            raise ValueError(
                f"found {', '.join(f'{value:g}' for value in twice)} more than once; expected "
                "every value once"
            )
        return values


def sweep_folder(request: Sweeping) -> str:
    """Where a sweep is written. Raises BadInput where that has to be said."""
    return request.out or run_folder_of(find_checkpoint(request.checkpoint))


def sweep_samplers(request: Sweeping, crew: Crew, told: Told = tell_nobody) -> Sweep:
    """Try every way to draw, draw the best one again with fresh seeds, and write the record.

    `told` hears of every finished cell. Raises BadInput for what cannot be drawn or measured,
    before anything is drawn. A cell with images that are not finite counts as failed.
    """
    folder, checkpoint = sweep_folder(request), find_checkpoint(request.checkpoint)
    recipe = _recipe(request, read_recipe(checkpoint))
    wanted = [*_wanted(request, recipe)]
    decays = _decays(request, recipe, checkpoint)
    cut = (wanted[0].batch, wanted[0].batches_in_flight)
    studio = Studio(crew, storage.join(folder, "sweep", "units"), request.device, *cut)
    home = run_of(checkpoint) or folder
    with exact_arithmetic(threads=1):
        trial = Trial.of(wanted[0], recipe, checkpoint, home, studio=studio, told=told)
        count = request.count or min(trial.yardstick.full, CELL_IMAGES)
        fresh_count = request.fresh_count or trial.yardstick.full
        for images in (count, fresh_count):
            trial.yardstick.refuse(images)
        tried = trial.results([way for d in decays for way in trial.ways(d, wanted, count)])
        best = _best(tried)
        again: list[Result] = []
        if best is not None:
            chosen = tried[best].way
            seeds = [chosen.settings.seed + 1 + place for place in range(request.fresh_seeds)]
            fresh = [changed(chosen.settings, {"seed": seed}) for seed in seeds]
            again = trial.results(trial.ways(chosen.source.decay, fresh, fresh_count))
    sweep = Sweep(
        images_seen=trial.images_seen,
        checkpoint=checkpoint.rstrip("/").rpartition("/")[2],
        preset=wanted[0].kind,
        count=count,
        fresh_count=fresh_count,
        cells=tuple(_cell(one, None if best is None else tried[best]) for one in tried),
        best=best,
        fresh=tuple(_fresh(one) for one in again),
        over_seeds=_over_seeds(again),
    )
    write_sweep(sweep, folder)
    studio.clear()
    return sweep


def _recipe(request: Sweeping, own: Recipe) -> Recipe:
    """The run's recipe on the shards that are asked for."""
    data = own.data.model_copy(update={"shards": request.shards or own.data.shards})
    return own.model_copy(update={"data": data})


def _wanted(request: Sweeping, recipe: Recipe) -> Iterator[AnySettings]:
    """The run's evaluation with every guidance and temperature. Raises RecipeError for what this
    model cannot draw."""
    said = request.changes() | request.said()
    kind = request.kind or recipe.evaluation.kind
    if kind in PRESETS and kind != "digits":
        said["samples"] = request.count or min(PRESETS[kind].samples, CELL_IMAGES)
    own = settings_of(recipe, request.kind, said)
    for guidance, temperature in product(
        request.guidances or (own.guidance,), request.temperatures or (own.temperature,)
    ):
        settings = changed(own, {"guidance": guidance, "temperature": temperature})
        evaluation = {"evaluation": settings.model_dump(mode="json")}
        recipe_from_mapping(recipe.model_dump(mode="json") | evaluation)  # does it fit the model?
        yield settings


def _decays(request: Sweeping, recipe: Recipe, checkpoint: str) -> tuple[float, ...] | tuple[None]:
    """The averages that are asked for. Raises BadInput for one that the checkpoint lacks."""
    if request.averaging_decays is None:
        return (None,)
    held = recipe.engine.decays[: 1 if is_released(checkpoint) else None]
    absent = [decay for decay in request.averaging_decays if decay not in held]
    if absent:
        raise BadInput(
            f"averaging_decays: {checkpoint} holds no average of decay "
            f"{', '.join(f'{decay:g}' for decay in absent)}; expected some of "
            f"{', '.join(f'{decay:g}' for decay in held)}. A run keeps further ones where "
            "engine.further_decays lists them"
        )
    return request.averaging_decays


def _best(tried: Sequence[Result]) -> int | None:
    """The place of the least corrected value, the first of equal ones."""
    measured = [place for place, one in enumerate(tried) if not one.broken]
    return min(measured, key=lambda place: tried[place].estimate.corrected, default=None)


def _cell(one: Result, best: Result | None) -> Cell:
    """A cell beside the best one."""
    difference, is_tied = None, False
    if best is not None and not one.broken:
        apart = paired_difference(one.parts, best.parts)
        metric = f"{one.way.protocol.metric}, paired difference to {best.way}"
        difference = Measurement(
            name=f"{one.way.name}_difference",
            value=apart.value,
            standard_error=apart.standard_error,
            protocol=one.way.protocol.model_copy(update={"metric": metric}),
        )
        is_tied = apart.value <= TIED * apart.standard_error
    decay = one.way.protocol.averaging_decay
    assert decay is not None, "these are drawn from averaged weights"
    return Cell(
        guidance=one.way.settings.guidance,
        temperature=one.way.settings.temperature,
        averaging_decay=decay,
        content=one.way.source.digest,
        measured=one.measured,
        broken=one.broken,
        difference=difference,
        is_tied=is_tied,
    )


def _fresh(one: Result) -> FreshSeed:
    return FreshSeed(seed=one.way.settings.seed, measured=one.measured, broken=one.broken)


def _over_seeds(again: Sequence[Result]) -> OverSeeds | None:
    """The mean over seeds; None where one of them failed: none is left out silently."""
    if not again or any(one.broken for one in again):
        return None
    corrected, count = [one.estimate.corrected for one in again], len(again)
    mean, sd = fmean(corrected), stdev(corrected) if count > 1 else None
    error = None if sd is None else sd / count**0.5
    protocol, seeds = again[0].way.protocol, ", ".join(str(one.way.settings.seed) for one in again)
    metric = f"{protocol.metric}, mean over seeds {seeds}"
    measured = Measurement(
        name=again[0].way.name,
        value=fmean(one.estimate.value for one in again),
        corrected=mean,
        standard_error=error,
        interval=None if error is None else _around(mean, reach(count) * error),
        protocol=protocol.model_copy(update={"metric": metric}),
    )
    return OverSeeds(mean=measured, sd=sd)


def _around(value: float, far: float) -> tuple[float, float]:
    return value - far, value + far
