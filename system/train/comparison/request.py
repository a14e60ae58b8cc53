"""What a comparison of methods is asked: which table, on which data, over which seeds."""

from pathlib import Path
from typing import Annotated
from typing import Literal

from pydantic import Field

from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


class Comparison(Record):
    """A table to fill. Runs that are there already are not run again."""

    table: Literal["a", "b", "c", "d", "e"] = Field(
        "a",
        description="a: spreads and routes; b: alignment; c: guidance formulas; d: statistics of "
        "latents; e: reconstruction under noise on latents (c, d and e measure runs of a)",
    )
    data: Literal["digits", "photographs"] = Field("digits", description="what to train on")
    shards: str | None = Field(
        None, description="folder or url with the packed data; null is shards/ and its name"
    )
    root: str = Field("runs/methods", description="folder or url for the runs")
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = Field(
        (0, 1, 2), description="seeds of the runs; processes with other seeds may share the work"
    )
    total_images: PositiveInt | None = Field(
        None, description="images of every run; null takes those of configs/comparison"
    )
    arms: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        ("*",), description="names of arms, with * for any letters: the table's rows to fill"
    )
    teacher: str | None = Field(
        None, description="overlay of the teacher for table b: what jobs/train_teacher.py wrote"
    )
    out: str | None = Field(None, description="file to write the table to, beside printing it")

    @property
    def shards_url(self) -> str:
        """Where the packed data lie."""
        return self.shards or f"shards/{self.data}"
