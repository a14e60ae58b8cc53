"""Where a run stands in its data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the stream of training samples, enough to resume at any world size."""

    images_seen: int
    seed: int
    manifest_digest: str
