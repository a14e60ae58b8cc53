"""What a run sees: which shards, which of their samples, and how they are read and cropped."""

from typing import Annotated
from typing import Literal

from pydantic import Field

from system.foundation.settings.record import Fraction
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

NonNegativeInt = Annotated[int, Field(ge=0)]


class Selection(Record):
    """Which samples an epoch holds; all of them, once, unless told otherwise."""

    classes: tuple[NonNegativeInt, ...] | None = Field(
        None, description="labels to keep, with their numbers unchanged; null keeps all"
    )
    per_class: PositiveInt | None = Field(
        None, description="samples to keep of each class, by the hash of their keys; null keeps all"
    )
    balance: Literal["none", "undersample", "oversample"] = Field(
        "none",
        description="undersample: every epoch has as many of each class as the smallest has, in "
        "turns; oversample: as many as the largest has, repeating",
    )


class Fetching(Record):
    """How bytes are asked of storage that is not a local disk."""

    timeout_s: PositiveFloat = Field(30.0, description="seconds until one request is given up")
    attempts: PositiveInt = Field(6, description="requests for one range until it counts as lost")
    backoff_s: PositiveFloat = Field(
        0.2, description="longest first wait between attempts, seconds; it doubles, up to 10"
    )
    hedge_after_s: PositiveFloat | None = Field(
        2.0, description="seconds after which a slow request is sent a second time; null: never"
    )
    concurrency: PositiveInt = Field(16, description="requests at one time, per decoding process")
    gap_bytes: NonNegativeInt = Field(
        65536, description="bytes between two wanted ranges that are read rather than skipped"
    )


class DiskCache(Record):
    """Shards kept on a local disk, shared by all processes of the machine."""

    folder: str | None = Field(
        None, description="local folder, named by content, so runs may share it; null: no cache"
    )
    max_bytes: PositiveInt = Field(
        200 * 10**9, description="bytes it may hold; the least recently used go"
    )


class Data(Record):
    """The stream of training images."""

    shards: str = Field(description="folder or url with the shards and their manifest")
    image_size: PositiveInt = Field(description="side of the square images, pixels")
    image_channels: Literal[1, 3] = Field(3, description="1 for grey, 3 for colour")
    classes: PositiveInt = Field(description="number of classes; labels are 0 … classes-1")
    crop: Literal["none", "adm", "centre", "random_resized"] = Field(
        "adm",
        description="none: shards hold the exact size; adm: the centre crop of ADM's evaluation; "
        "centre: EDM's, a centred square scaled by Lanczos; random_resized: an area of 8 to 100 % "
        "at an aspect of 3/4 to 4/3",
    )
    flip: bool = Field(True, description="mirror each image with probability one half")
    selection: Selection = Field(Selection(), description="which samples an epoch holds")
    window_shards: PositiveInt = Field(8, description="shards mixed in the shuffle window")
    workers: NonNegativeInt = Field(2, description="decoding processes per worker")
    prefetch: PositiveInt = Field(2, description="batches each decoding process keeps ready")
    worker_memory_bytes: PositiveInt = Field(
        2 * 2**30, description="bytes past which a decoding process is replaced by a fresh one"
    )
    stall_timeout_s: PositiveFloat = Field(
        300.0, description="seconds without a batch after which the run stops and says why"
    )
    max_bad_fraction: Fraction = Field(
        0.001, description="share of bad samples past which a run stops"
    )
    fetching: Fetching = Field(Fetching(), description="how bytes are asked of storage")
    cache: DiskCache = Field(DiskCache(), description="a local disk that keeps shards")
    features: str | None = Field(
        None,
        description="folder or url of what frozen networks make of the images, computed once by "
        "jobs/precompute_features.py; null: they are asked for every batch",
    )
    on_changed_manifest: Literal["refuse", "continue"] = Field(
        "refuse", description="what a resumed run does where the shards are others than before"
    )
