"""A campaign's ledger: numbered events in storage, each created once by whoever was first.

    <root>/campaigns/<name>/events/00000042.json

An event is either a wish (began, stopped), an observation (what the cluster and the runs were seen
to be), or a decision. A decision is written before it is carried out, and is a function of the
events before it; so of two controllers that act at once, the second finds the number taken, reads
what was decided, and goes on from there.
"""

from collections.abc import Sequence
from typing import Annotated
from typing import Any
from typing import Literal

from pydantic import Field
from pydantic import TypeAdapter

from system.foundation import storage
from system.foundation.errors import StorageError
from system.foundation.settings.record import Record
from system.foundation.yaml_tree import Scalar
from system.observe.leaderboard import FOLDER as CAMPAIGNS

FOLDER = "events"
SUFFIX = ".json"


class _Event(Record):
    time: float  # Unix time; a decision's is that of the observation it rests on


class Began(_Event):
    """The campaign as its file said when it was started, or since it was amended."""

    kind: Literal["began"] = "began"
    campaign: dict[str, Any]
    digest: str
    recipe: str  # digest of the recipe that is varied: a change of it would make other trials
    gpus_per_job: float


class Stopped(_Event):
    """Somebody asked for a stop: running jobs save and end, and no more are started."""

    kind: Literal["stopped"] = "stopped"


class Resumed(_Event):
    """Somebody asked to go on."""

    kind: Literal["resumed"] = "resumed"


class Ended(Record):
    """How a job ended, and what its run's ledger has to say of it."""

    job: str
    exit_code: int | None  # None: killed, or lost with its cluster
    seconds: float
    images_seen: int  # of the run's newest checkpoint
    value: float | None  # at the end of the rung
    error: float | None = None
    protocol: str | None = None  # digest of how it was measured
    message: str = ""


class Observed(_Event):
    """What was seen. Written only where something has ended, or where a decision rests on it."""

    kind: Literal["observed"] = "observed"
    capacity: int | None  # jobs that the whole cluster has room for; None: it does not answer
    ended: tuple[Ended, ...] = ()


class Proposed(_Event):
    """A new trial."""

    kind: Literal["proposed"] = "proposed"
    trial: str
    run: str
    draw: int
    overrides: dict[str, Scalar]


class Exhausted(_Event):
    """No more trials are found that differ from those there are."""

    kind: Literal["exhausted"] = "exhausted"


class Launched(_Event):
    """A job is to run; it is submitted under this name, which no cluster takes twice."""

    kind: Literal["launched"] = "launched"
    job: str
    run: str
    rung: int
    images: int
    allowed_s: float | None  # after so long it pauses by itself; None: no limit


class Paused(_Event):
    """A job is to save and end."""

    kind: Literal["paused"] = "paused"
    job: str
    reason: str


class Killed(_Event):
    """A job that was to save and end has not: it is stopped."""

    kind: Literal["killed"] = "killed"
    job: str


class Promoted(_Event):
    """A rung is complete; the best of it go on."""

    kind: Literal["promoted"] = "promoted"
    rung: int  # that they go on to
    kept: tuple[str, ...]  # trials, best first
    values: dict[str, float]  # of all trials of the rung before


class Confirming(_Event):
    """The best trials are trained again with fresh seeds."""

    kind: Literal["confirming"] = "confirming"
    trials: tuple[str, ...]  # best first
    runs: dict[str, int]  # their runs, and the seed of each


class GivenUp(_Event):
    """A run is not tried again."""

    kind: Literal["given_up"] = "given_up"
    run: str
    reason: str


class Closed(_Event):
    """Nothing is started any more."""

    kind: Literal["closed"] = "closed"
    reason: str
    complete: bool


Decision = (
    Proposed | Exhausted | Launched | Paused | Killed | Promoted | Confirming | GivenUp | Closed
)
Event = Annotated[
    Began | Stopped | Resumed | Observed | Decision,
    Field(discriminator="kind"),
]
_ANY: TypeAdapter[Event] = TypeAdapter(Event)


class CampaignLedger:
    """The events of one campaign. What was read is kept: a second `read` fetches what is new."""

    def __init__(self, root: str, campaign: str) -> None:
        self._folder = storage.join(storage.absolute(root), CAMPAIGNS, campaign, FOLDER)
        self._events: list[Event] = []

    def read(self) -> Sequence[Event]:
        """Every event, in order. Raises StorageError where one cannot be read."""
        count = len(self._events)
        numbers = sorted(_numbers(storage.list_names(self._folder)))
        if numbers != list(range(len(numbers))):
            raise StorageError(f"the ledger {self._folder} has gaps: {len(numbers)} events found")
        for number in numbers[count:]:
            self._events.append(_parsed(self._place(number)))
        return tuple(self._events)

    def append(self, event: Event) -> bool:
        """Write the event as the next after those read. False where another was there first."""
        content = (event.model_dump_json() + "\n").encode()
        try:
            storage.write_new(self._place(len(self._events)), content)
        except FileExistsError:
            return False
        self._events.append(event)
        return True

    def _place(self, number: int) -> str:
        return storage.join(self._folder, f"{number:08d}{SUFFIX}")


def _numbers(names: Sequence[str]) -> list[int]:
    stems = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return [int(stem) for stem in stems if stem.isdecimal()]


def _parsed(place: str) -> Event:
    try:
        return _ANY.validate_json(storage.read_bytes(place))
    except ValueError as error:
        raise StorageError(f"{place} is no event of a campaign: {error}") from error
