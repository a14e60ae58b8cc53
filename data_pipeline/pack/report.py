"""The account of a pack: what was left out and why, what was kept but is unusual."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from system.foundation import storage
from system.foundation.errors import DataError

REPORT_NAME = "pack_report.json"


@dataclass(slots=True)
class PackReport:
    """Grows while packing; `total` is the number of images that the source offers.

    Each shard has one of its own; they are added up in the order of the shards.
    """

    total: int
    max_bad_fraction: float
    ignored_files: Sequence[str] = ()
    packed: int = 0
    left_out: list[dict[str, str]] = field(default_factory=list)
    unusual: list[dict[str, str]] = field(default_factory=list)

    def note(self, key: str, note: str) -> None:
        """Record something unusual about an image that is kept."""
        self.unusual.append({"key": key, "note": note})

    def leave_out(self, key: str, reason: str, place: str = "") -> None:
        """Record an image that cannot be used. Raises DataError past the bound.

        `place` says where in the source it is, where the key does not.
        """
        row = {"key": key, "reason": reason}
        self.left_out.append(row | ({"place": place} if place else {}))
        self._check()

    def add(self, part: "PackReport") -> None:
        """Take in the account of one shard. Raises DataError past the bound."""
        self.packed += part.packed
        self.left_out += part.left_out
        self.unusual += part.unusual
        self._check()

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many images there are of each reason, the most frequent first."""
        left_out = Counter(each["reason"] for each in self.left_out)
        unusual = Counter(each["note"] for each in self.unusual)
        return {"left_out": _ordered(left_out), "unusual": _ordered(unusual)}

    def write(self, url: str) -> None:
        """Write it as JSON beside the shards."""
        content: dict[str, Any] = {
            "total": self.total,
            "packed": self.packed,
            "max_bad_fraction": self.max_bad_fraction,
            "counts": self.counts,
            "left_out": self.left_out,
            "unusual": self.unusual,
            "ignored_files": [*self.ignored_files],
        }
        text = json.dumps(content, indent=1)
        storage.write_bytes(storage.join(url, REPORT_NAME), text.encode())

    def summary(self) -> str:
        """One line for people."""
        unusual = len({each["key"] for each in self.unusual})  # some for two reasons
        return (
            f"{self.packed} images packed, {len(self.left_out)} left out, {unusual} "
            f"unusual, {len(self.ignored_files)} other files ignored"
        )

    def _check(self) -> None:
        if len(self.left_out) <= self.max_bad_fraction * self.total:
            return
        named = "; ".join(f"{bad['key']} ({bad['reason']})" for bad in self.left_out[:10])
        raise DataError(
            f"{len(self.left_out)} of {self.total} images cannot be used, more than "
            f"max_bad_fraction {self.max_bad_fraction} allows: {named}. Mend or remove them, "
            "or raise max_bad_fraction and start again (finished shards are kept); no manifest "
            "was written."
        )


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
