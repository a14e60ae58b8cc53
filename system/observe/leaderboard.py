"""What a campaign shows of itself: its trials, best first, and what is spent of what it may spend.

    for board in read_leaderboards("runs"):
        print(board.campaign, board.best)

A campaign writes it anew with every tick to `<root>/campaigns/<name>/leaderboard.json`. It is a
copy: the truth is the campaign's own ledger beside it and the ledgers of its runs.
"""

import logging
from typing import Literal

from pydantic import ValidationError

from system.foundation import storage
from system.foundation.errors import StorageError
from system.foundation.settings.record import Record
from system.foundation.yaml_tree import Scalar

FOLDER = "campaigns"
NAME = "leaderboard.json"

Direction = Literal["min", "max"]

log = logging.getLogger(__name__)


class Row(Record):
    """One trial. A value belongs to the newest rung that it has been measured at."""

    trial: str  # digest of its overrides
    run: str  # name of the run that it is
    overrides: dict[str, Scalar]  # keys of the recipe, as on the command line
    state: str
    rung: int  # counted from 0
    images_seen: int
    value: float | None = None
    error: float | None = None  # standard error of the value, where the measure has one
    confirmed_value: float | None = None  # mean over runs with fresh seeds
    confirmed_error: float | None = None


class Leaderboard(Record):
    """One campaign as it stood at its last tick."""

    campaign: str
    objective: str  # name of the metric
    direction: Direction
    state: str
    trials: tuple[Row, ...]  # best first
    gpu_hours_spent: float
    gpu_hours_limit: float | None
    cost_spent: float
    cost_limit: float | None
    rungs: tuple[int, ...]  # in images seen
    updated: float  # Unix time

    @property
    def best(self) -> Row | None:
        """The first trial that has a value; None while none has."""
        return next((row for row in self.trials if row.value is not None), None)


def ranked(rows: list[Row], direction: Direction) -> tuple[Row, ...]:
    """Rows best first: confirmed before measured, a later rung before an earlier, then by value.

    Numbers of different rungs, or of one seed and of several, are not held against each other.
    """
    sign = 1.0 if direction == "min" else -1.0

    def place(row: Row) -> tuple[bool, float, bool, int, float, str]:
        confirmed, value = row.confirmed_value, row.value
        return (
            confirmed is None,
            sign * (confirmed or 0.0),
            value is None,
            -row.rung,
            sign * (value or 0.0),
            row.trial,
        )

    return tuple(sorted(rows, key=place))


def place_of(root: str, campaign: str) -> str:
    """Where a campaign's leaderboard lies below the root of its runs."""
    return storage.join(root, FOLDER, campaign, NAME)


def write(root: str, board: Leaderboard) -> None:
    """Write a campaign's leaderboard in place of its last one."""
    content = board.model_dump_json(indent=1) + "\n"
    storage.write_bytes(place_of(root, board.campaign), content.encode())


def read_leaderboards(root: str) -> list[Leaderboard]:
    """The leaderboards of all campaigns under a root, by name; none if there are none.

    One that cannot be read (of other code, or damaged) is told of in the log and left out.
    """
    found = [_read(place_of(root, n)) for n in storage.list_names(storage.join(root, FOLDER))]
    return [board for board in found if board is not None]


def _read(place: str) -> Leaderboard | None:
    try:
        return Leaderboard.model_validate_json(storage.read_bytes(place))
    except FileNotFoundError:  # a campaign that was never ticked
        return None
    except (ValidationError, StorageError) as error:
        log.warning("the leaderboard %s is left out: %s", place, error)
        return None
