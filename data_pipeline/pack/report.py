"""The account of a pack: what was left out and why, what was kept but is unusual."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field

from system.foundation import storage
from system.foundation.errors import DataError

REPORT_NAME = "pack_report.json"


@dataclass(slots=True)
class PackReport:
    """Grows while packing; `total` is the number of images that the source offers."""

    total: int
    max_bad_fraction: float
    ignored_files: Sequence[str]
    packed: int = 0
    left_out: list[dict[str, str]] = field(default_factory=list)
    unusual: list[dict[str, str]] = field(default_factory=list)

    def note(self, key: str, note: str) -> None:
        """Record something unusual about an image that is kept."""
        self.unusual.append({"key": key, "note": note})

    def leave_out(self, key: str, reason: str) -> None:
        """Record an image that cannot be used. Raises DataError past the bound."""
        self.left_out.append({"key": key, "reason": reason})
        if len(self.left_out) > self.max_bad_fraction * self.total:
            named = "; ".join(f"{bad['key']} ({bad['reason']})" for bad in self.left_out[:10])
            raise DataError(
                f"{len(self.left_out)} of {self.total} images cannot be used, more than "
                f"max_bad_fraction {self.max_bad_fraction} allows: {named}. Mend or remove them, "
                "or raise max_bad_fraction; no manifest was written."
            )

    def write(self, url: str) -> None:
        """Write it as JSON beside the shards."""
        content = json.dumps(asdict(self), indent=1)
        storage.write_bytes(storage.join(url, REPORT_NAME), content.encode())

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.packed} images packed, {len(self.left_out)} left out, {len(self.unusual)} "
            f"unusual, {len(self.ignored_files)} other files ignored"
        )
