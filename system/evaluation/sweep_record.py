"""A sweep over ways to draw as a record: every cell with its protocol, the best one, fresh seeds.

The least of many estimates is too low on average: it was chosen for it. So the best cell is drawn
again with seeds that nothing was chosen by, and both numbers stand side by side.
"""

import json
from typing import Annotated
from typing import Any

from pydantic import Field
from pydantic import model_validator

from system.evaluation.protocol import Digest
from system.evaluation.protocol import Measurement
from system.evaluation.protocol import PresetName
from system.evaluation.protocol import Text
from system.evaluation.protocol import described
from system.foundation import storage
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

HEAD = ("guidance", "temperature", "decay", "corrected", "value", "to the best", "")


class Outcome(Record):
    """What came of drawing: a number, or how many of the images have pixels that are not finite."""

    measured: Measurement | None
    broken: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _one_of_both(self) -> "Outcome":
        if (self.measured is None) == (self.broken == 0):
            raise ValueError(
                f"found {self.broken} broken images and measured={self.measured}; expected a "
                "number of sound images, or broken ones and no number"
            )
        return self


class Cell(Outcome):
    """One way to draw."""

    guidance: float
    temperature: float
    averaging_decay: float
    content: Digest  # of the weights
    difference: Measurement | None = None  # to the best cell, of the same noise and labels
    is_tied: bool = False  # with the best one, which is tied with itself


class FreshSeed(Outcome):
    """The best cell once more, with noise and labels that it was not chosen by."""

    seed: int


class OverSeeds(Record):
    """The mean over fresh seeds, its error from their spread alone; and that spread."""

    mean: Measurement
    sd: float | None  # of one seed's corrected value; None of one seed


class Sweep(Record):
    """Every way to draw that was tried on one checkpoint."""

    images_seen: Annotated[int, Field(ge=0)]
    checkpoint: Text
    preset: PresetName
    count: PositiveInt  # images of each cell
    fresh_count: PositiveInt
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    best: int | None  # its place among the cells; None where none could be measured
    fresh: tuple[FreshSeed, ...]
    over_seeds: OverSeeds | None  # None where a fresh seed could not be measured

    def place(self, folder: str, suffix: str) -> str:
        """Where this record lies in a run's folder; its picture with another suffix."""
        return storage.join(folder, "sweep", f"{self.images_seen:012d}-{self.preset}.{suffix}")


def write_sweep(sweep: Sweep, folder: str) -> str:
    """Write the record into a run's folder, whole or not at all; its url.

    It is checked once more: pydantic's ValidationError refuses a number without its protocol.
    """
    sweep = Sweep.model_validate(sweep.model_dump())
    content = sweep.model_dump(mode="json", exclude={"cells", "fresh", "over_seeds"})
    content["cells"] = [_outcome(cell) for cell in sweep.cells]
    content["fresh"] = [_outcome(seed) for seed in sweep.fresh]
    over = sweep.over_seeds
    content["over_seeds"] = None if over is None else {"mean": _named(over.mean), "sd": over.sd}
    url = sweep.place(folder, "json")
    storage.write_bytes(url, (json.dumps(content, indent=1) + "\n").encode())
    return url


def sweep_table(sweep: Sweep) -> str:
    """A line for each cell, and what the best one gets on fresh seeds."""
    rows = [HEAD, *(_row(sweep, place) for place in range(len(sweep.cells)))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *_conclusion(sweep)])


def _row(sweep: Sweep, place: int) -> tuple[str, ...]:
    cell = sweep.cells[place]
    where = tuple(f"{at:g}" for at in (cell.guidance, cell.temperature, cell.averaging_decay))
    measured, difference = cell.measured, cell.difference
    if measured is None:
        failed = f"failed: {cell.broken} of {sweep.count} images are not finite"
        return (*where, "-", "-", "-", failed)
    word = "best" if place == sweep.best else "tied" if cell.is_tied else ""
    apart = "-" if difference is None else _number(difference, difference.value)
    corrected = measured.value if measured.corrected is None else measured.corrected
    return (*where, _number(measured, corrected), f"{measured.value:.5g}", apart, word)


def _conclusion(sweep: Sweep) -> list[str]:
    if sweep.best is None:
        return ["no cell could be measured"]
    best = sweep.cells[sweep.best]
    assert best.measured is not None, "the best cell is a measured one"
    name = best.measured.name.removeprefix("evaluation/")
    lines = [
        f"best of {len(sweep.cells)}: {name} {_number(best.measured, best.measured.corrected)} "
        f"({sweep.count} images), too low on average, being the least of many"
    ]
    lines += [
        f"fresh seed {one.seed} failed: {one.broken} of {sweep.fresh_count} images are not finite"
        for one in sweep.fresh
        if one.measured is None
    ]
    if sweep.over_seeds is not None:
        mean, sd = sweep.over_seeds.mean, sweep.over_seeds.sd
        seeds = ", ".join(str(one.seed) for one in sweep.fresh)
        spread = "" if sd is None else f", sd {sd:.2g} over seeds"
        lines.append(
            f"on fresh seeds {seeds}: {name} {_number(mean, mean.corrected)}{spread} "
            f"({sweep.fresh_count} images each; not corrected: {mean.value:.5g})"
        )
    return lines


def _number(measured: Measurement, value: float | None) -> str:
    error = measured.standard_error
    return f"{value:.5g}" + ("" if error is None else f" ± {error:.2g}")


def _outcome(outcome: Outcome) -> dict[str, Any]:
    content = outcome.model_dump(mode="json", exclude={"measured", "difference"})
    content["measured"] = None if outcome.measured is None else _named(outcome.measured)
    if isinstance(outcome, Cell):
        apart = outcome.difference
        content["difference"] = None if apart is None else _named(apart)
    return content


def _named(measured: Measurement) -> dict[str, Any]:
    return {"name": measured.name, **described(measured)}
