"""The account of a pack: what was left out and why, what was kept but is unusual."""

import json
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.wording import counted

REPORT_NAME = "pack_report.json"


@dataclass(slots=True)
class PackReport:
    """Grows while packing; `total` is the number of images that the source offers.

    Each shard has one of its own; they are added up in the order of the shards. A row names an
    image by its key, its place in the source and its split, and says the reason.
    """

    total: int
    max_bad_fraction: float
    ignored_files: Sequence[str] = ()
    packed: int = 0
    left_out: list[dict[str, str]] = field(default_factory=list)
    unusual: list[dict[str, str]] = field(default_factory=list)

    def note(self, image: Mapping[str, str], reason: str) -> None:
        """Record something unusual about an image that is kept."""
        self.unusual.append({**image, "reason": reason})

    def leave_out(self, image: Mapping[str, str], reason: str) -> None:
        """Record an image that cannot be used."""
        self.left_out.append({**image, "reason": reason})

    def add(self, part: "PackReport") -> None:
        """Take in the account of one shard."""
        self.packed += part.packed
        self.left_out += part.left_out
        self.unusual += part.unusual

    @property
    def is_past_bound(self) -> bool:
        """Whether more is left out than may be."""
        return len(self.left_out) > self.max_bad_fraction * self.total

    def check(self, url: str) -> None:
        """Raise DataError past the bound; what was found so far is written at `url` then."""
        if self.is_past_bound:
            raise self._refusal(self.write(url, is_finished=False))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many images there are of each reason, the most frequent first."""
        left_out = Counter(each["reason"] for each in self.left_out)
        unusual = Counter(each["reason"] for each in self.unusual)
        return {"left_out": _ordered(left_out), "unusual": _ordered(unusual)}

    def write(self, url: str, *, is_finished: bool = True) -> str:
        """Write it as JSON beside the shards. Returns its place."""
        place = storage.join(url, REPORT_NAME)
        content: dict[str, Any] = {
            "finished": is_finished,
            "total": self.total,
            "packed": self.packed,
            "max_bad_fraction": self.max_bad_fraction,
            "counts": self.counts,
            "left_out": self.left_out,
            "unusual": self.unusual,
            "ignored_files": [*self.ignored_files],
        }
        text = json.dumps(content, indent=1)
        storage.write_bytes(place, text.encode())
        return place

    def summary(self) -> str:
        """One line for people."""
        unusual = len({each["key"] for each in self.unusual})  # some for two reasons
        return (
            f"{counted(self.packed, 'image')} packed, {len(self.left_out)} left out, {unusual} "
            f"unusual, {counted(len(self.ignored_files), 'other file')} ignored"
        )

    def _refusal(self, place: str) -> DataError:
        named = "; ".join(f"{bad['key']} ({bad['reason']})" for bad in self.left_out[:10])
        return DataError(
            f"{len(self.left_out)} of {self.total} images cannot be used, more than "
            f"max_bad_fraction {self.max_bad_fraction} allows: {named}. {place} names all "
            "that were found so far. Mend or remove them, "
            "or raise max_bad_fraction and start again (finished shards are kept); no manifest "
            "was written."
        )


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
