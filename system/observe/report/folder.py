"""What a run's folder holds, read as far as it can be: what is missing or damaged is named.

A report is read when something went wrong, so nothing here raises for a file that is torn, absent
or of another version: it is left out and stands in `faults`.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from system.evaluation.protocol import Protocol
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import StorageError
from system.telemetry.ledger import Event
from system.telemetry.ledger import Follower
from system.telemetry.metric import Metric
from system.telemetry.metrics import METRICS

Z95 = 1.959963984540054  # standard errors to each side of a 95 % interval of a normal variable


@dataclass(frozen=True, slots=True)
class Number:
    """One measured value with its uncertainty, and the protocol as it stands in the file."""

    name: str
    value: float
    images_seen: int
    place: str  # the file it was read from, in the run's folder
    protocol: Mapping[str, Any]
    digest: str
    standard_error: float | None = None
    corrected: float | None = None
    stated: tuple[float, float] | None = None  # the interval that the record states

    @property
    def is_of_corrected(self) -> bool:
        """Whether the interval is that of the corrected value, and not of the value itself."""
        return self.stated is not None and self.corrected is not None

    @property
    def metric(self) -> Metric:
        """What the registry says of it; for a name that it does not know, nothing."""
        unit = "fraction" if self.name.endswith("accuracy") else ""
        return METRICS.get(self.name) or Metric(self.name, unit, "")

    @property
    def is_share(self) -> bool:
        """Whether it is a share of images."""
        return self.metric.unit == "fraction"

    def interval(self) -> tuple[float, float] | None:
        """A 95 % interval: the one that the record states; else from the standard error, and for a
        share no narrower than Wilson's for so many images."""
        if self.stated is not None:
            return self.stated
        samples = self.protocol.get("samples")
        low = high = None
        if self.standard_error is not None:
            low, high = (self.value + side * Z95 * self.standard_error for side in (-1, 1))
        if self.is_share and isinstance(samples, int) and samples > 0:
            least = wilson(self.value, samples)
            low = least[0] if low is None else max(0.0, min(low, least[0]))
            high = least[1] if high is None else min(1.0, max(high, least[1]))
        return None if low is None or high is None else (low, high)

    @property
    def is_as_digested(self) -> bool | None:
        """Whether the protocol has the digest it is filed under; None for another version."""
        try:
            return Protocol.model_validate(self.protocol).digest == self.digest
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """All that a report shows of one run."""

    url: str
    events: Sequence[Event]
    numbers: Sequence[Number]
    grids: Mapping[int, bytes]  # by images seen
    pictures: Mapping[str, bytes]  # other pictures of samples/, by file name
    recipe: str | None
    starts: Sequence[Mapping[str, Any]]  # of provenance.json
    faults: Sequence[str]

    @property
    def name(self) -> str:
        """The run's name: that of its folder."""
        return self.url.rstrip("/").rpartition("/")[2] or self.url

    def course(self, metric: str) -> list[Number]:
        """A number at every checkpoint it was measured at, in order, under one protocol: the one
        of most checkpoints, of equals that of the newest."""
        found = [one for one in self.numbers if one.name == metric]
        counts = Counter(one.digest for one in found)
        chosen = max(found, key=lambda one: (counts[one.digest], one.images_seen), default=None)
        by_place = {one.images_seen: one for one in found if chosen and one.digest == chosen.digest}
        return [by_place[at] for at in sorted(by_place)]

    def left_out(self, metric: str) -> int:
        """How many values of it were measured under other protocols than those of its course."""
        return sum(one.name == metric for one in self.numbers) - len(self.course(metric))

    def newest(self, metric: str) -> Number | None:
        """A number at the newest checkpoint that has it."""
        course = self.course(metric)
        return course[-1] if course else None

    def happened(self, *kinds: str) -> list[Event]:
        """The events of these kinds, in order of time."""
        return [event for event in self.events if event["kind"] in kinds]


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share of `count` independent images. Source: Wilson 1927."""
    z = Z95**2 / count
    centre = (share + z / 2) / (1 + z)
    half = math.sqrt(max(0.0, share * (1 - share) * z + z * z / 4)) / (1 + z)
    return max(0.0, centre - half), min(1.0, centre + half)


def read_folder(url: str) -> RunFolder:
    """Read a run's folder, at any fsspec url. Raises BadInput where there is nothing of a run."""
    faults: list[str] = []
    follower = Follower(url)
    events = follower.poll()
    if follower.torn_lines:
        faults.append(f"ledger: passed over {follower.torn_lines} torn lines")
    numbers = read_numbers(url, faults)
    grids, pictures = _pictures(url, faults)
    recipe = read_file(url, "recipe.yaml", faults)
    if not (events or numbers or recipe):
        raise BadInput(
            f"run={url}: found no ledger/, eval/ or recipe.yaml there; expected the folder of a "
            "run, <run.root>/<run.name>, such as runs/digits"
        )
    starts = read_starts(read_file(url, "provenance.json", faults), faults)
    return RunFolder(url, events, numbers, grids, pictures, recipe, starts, faults)


def read_file(url: str, name: str, faults: list[str]) -> str | None:
    """The text of a file of the folder; None, named in `faults`, where it cannot be read."""
    try:
        return storage.read_text(storage.join(url, name))
    except FileNotFoundError:
        faults.append(f"{name}: missing")
    except (OSError, StorageError) as problem:
        faults.append(f"{name}: {problem}")
    return None


def _json(text: str) -> dict[str, Any]:
    """A file's content. Raises ValueError where it is not a mapping."""
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"found {type(content).__name__}, expected a mapping")
    return content


def read_numbers(url: str, faults: list[str]) -> list[Number]:
    """Every number of `eval/`; what cannot be read is left out and named in `faults`."""
    found: list[Number] = []
    folder = storage.join(url, "eval")
    for name in storage.list_names(folder):
        if not name.endswith(".json"):
            continue
        text = read_file(url, f"eval/{name}", faults)
        try:
            content = _json(text) if text is not None else {}
            seen = int(content.get("images_seen", 0))
            measured = content.get("measurements", {})
            found += [_number(each, one, seen, f"eval/{name}") for each, one in measured.items()]
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            faults.append(f"eval/{name}: not a record of measurements ({problem})")
    faults += [
        f"{one.place}: {one.name} is {one.value}, and is left out of the curves"
        for one in found
        if not math.isfinite(one.value)
    ]
    return found


def _number(name: str, content: Mapping[str, Any], seen: int, place: str) -> Number:
    error, corrected = content.get("standard_error"), content.get("corrected")
    interval = content.get("interval")
    return Number(
        name=str(name),
        value=float(content["value"]),
        images_seen=seen,
        place=place,
        protocol=dict(content.get("protocol") or {}),
        digest=str(content.get("protocol_digest", "")),
        standard_error=None if error is None else float(error),
        corrected=None if corrected is None else float(corrected),
        stated=None if interval is None else (float(interval[0]), float(interval[1])),
    )


def _pictures(url: str, faults: list[str]) -> tuple[dict[int, bytes], dict[str, bytes]]:
    """Grids by images seen, and the other PNGs of samples/ by name."""
    grids: dict[int, bytes] = {}
    others: dict[str, bytes] = {}
    folder = storage.join(url, "samples")
    for name in storage.list_names(folder):
        stem, _, ending = name.rpartition(".")
        if ending != "png":
            continue
        try:
            content = storage.read_bytes(storage.join(folder, name))
        except (OSError, StorageError) as problem:
            faults.append(f"samples/{name}: {problem}")
            continue
        if stem.isdigit():
            grids[int(stem)] = content
        else:
            others[name] = content
    return dict(sorted(grids.items())), others


def read_starts(text: str | None, faults: list[str]) -> list[dict[str, Any]]:
    """The starts that the text of `provenance.json` tells of, oldest first."""
    if text is None:
        return []
    try:
        return [dict(start) for start in _json(text).get("starts", [])]
    except (ValueError, TypeError) as problem:
        faults.append(f"provenance.json: {problem}")
        return []
