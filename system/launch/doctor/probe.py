"""Storage: what a run does there, tried on keys of its own that are taken away again."""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

from data_pipeline.shards.manifest import read_manifest
from system.foundation import storage
from system.foundation.errors import TrainingSystemError
from system.foundation.recipe import Recipe
from system.launch.doctor.finding import Finding
from system.launch.doctor.finding import failure
from system.launch.doctor.finding import ok
from system.launch.doctor.finding import warning
from system.launch.preflight import absent_folders

PROBE_BYTES = 4 * 2**20
SLOW_S = 5.0
# Stores sign requests with the time and refuse those that are a quarter of an hour away.
SKEW_S, TOLERATED_SKEW_S = 900.0, 5.0
RESOLUTION_S = 1.0  # of the time that a store tells
ACCESS = (
    "choose another run.root, or mend the folder's permissions or the store's credentials "
    "(for s3:// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL)"
)


def run_root(recipe: Recipe) -> Iterator[Finding]:
    """Write, read, list, create what must not be there, commit without a rename, remove."""
    root = storage.absolute(recipe.run.root)
    folder = storage.join(root, f".doctor-{uuid.uuid4().hex[:12]}")
    made = absent_folders(folder)
    try:
        yield from _verbs(root, folder)
        yield clock(storage.join(folder, "clock"))
    except (TrainingSystemError, OSError) as error:
        yield failure("storage", str(error), ACCESS)
    finally:
        with suppress(TrainingSystemError, OSError):
            storage.remove(folder)
        for each in made:
            with suppress(OSError):  # something of another program's is in it
                each.rmdir()


def _verbs(root: str, folder: str) -> Iterator[Finding]:
    url, data = storage.join(folder, "data"), os.urandom(PROBE_BYTES)
    began = time.perf_counter()
    storage.write_bytes(url, data)
    wrote = time.perf_counter()
    if storage.read_bytes(url) != data:
        yield failure("storage", f"{root} gives back other bytes than were written", ACCESS)
        return
    read = time.perf_counter()
    said = (
        f"{root}: {PROBE_BYTES / 2**20:.0f} MiB written in {wrote - began:.2f} s, read in "
        f"{read - wrote:.2f} s"
    )
    if read - began > SLOW_S:
        yield warning("storage", said, "use a store that is nearer: saves and starts wait for it")
    else:
        yield ok("storage", said)
    yield _creation(folder)
    yield _commit(folder)


def _creation(folder: str) -> Finding:
    """Two that create the same: one must fail. Leases stand on it."""
    url = storage.join(folder, "lease")
    storage.write_new(url, b"first")
    try:
        storage.write_new(url, b"second")
    except FileExistsError:
        if storage.read_bytes(url) == b"first":
            return ok("lone creation", "what is there is not created twice")
    return failure(
        "lone creation",
        "the store creates what is there already: two drivers could hold one run",
        "use a store with conditional writes (S3 has If-None-Match; so has MinIO of 2024 on)",
    )


def _commit(folder: str) -> Finding:
    """A checkpoint is files, and a marker that comes last; nothing is renamed."""
    state = storage.join(folder, "checkpoint")
    storage.write_bytes(storage.join(state, "part"), b"part")
    before = storage.list_names(state)
    storage.write_bytes(storage.join(state, "marker"), b"")
    after = storage.list_names(state)
    storage.remove(state)
    left = storage.list_names(state)
    if (before, after, left) == (["part"], ["marker", "part"], []):
        return ok("commit", "a marker is seen at once, and so is its removal")
    return failure(
        "commit",
        f"listings lag: found {before}, {after}, and {left} after the removal",
        "use a store whose listings are consistent (S3 is), and no caching proxy before it",
    )


def clock(url: str) -> Finding:
    """This machine's clock beside the store's, which is made to write `url`."""
    began = time.time()
    storage.write_bytes(url, b"")
    theirs = stored_time(url)
    return skew(theirs, began, time.time())


def skew(theirs: float | None, began: float, ended: float) -> Finding:
    """What the store's time says of ours, which was between these two when it was told."""
    if theirs is None:
        return ok("clock", "the store tells no time")
    ahead = max(0.0, theirs - ended)
    behind = max(0.0, began - theirs - RESOLUTION_S)
    if not ahead + behind:
        return ok("clock", "the store's, as far as it can be told")
    said = f"{ahead + behind:,.1f} s {'before' if ahead else 'after'} the store's"
    cure = "let chrony or systemd-timesyncd set the clock"
    if ahead + behind >= SKEW_S:
        return failure("clock", f"{said}; stores refuse requests from so far away", cure)
    if ahead + behind >= TOLERATED_SKEW_S:
        return warning("clock", said, cure)
    return ok("clock", said)


def stored_time(url: str) -> float | None:
    """Seconds since 1970 by the store's clock: what it answers with, or when it wrote a file."""
    filesystem, path = storage.open_filesystem(url)
    if hasattr(filesystem, "call_s3"):
        bucket, _, key = path.partition("/")
        answer = filesystem.call_s3("head_object", Bucket=bucket, Key=key)
        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return parsedate_to_datetime(told).timestamp() if told else None
    try:
        modified = filesystem.modified(path)
    except NotImplementedError:  # fsspec's word for a store that keeps no times: none to compare
        return None
    return modified.timestamp() if isinstance(modified, datetime) else None


def data(recipe: Recipe) -> Iterator[Finding]:
    """The manifest, and the first and the last bytes of a shard."""
    url = storage.absolute(recipe.data.shards)
    cure = "give data.shards=FOLDER; jobs/pack_imagenet.py and jobs/quickstart.py make them"
    try:
        manifest = read_manifest(url)
        shard = manifest.split("train").shards[0]
        place = storage.join(url, shard.name)
        size = storage.size(place)
        began = time.perf_counter()
        storage.read_range(place, 0, min(size, PROBE_BYTES))
        took = time.perf_counter() - began
    except (TrainingSystemError, OSError) as error:
        yield failure("data", f"data.shards: {error}", cure)
        return
    if size != shard.bytes:
        yield failure(
            "data",
            f"{place} has {size:,} bytes; its manifest says {shard.bytes:,}",
            "copy the shard again; jobs/verify_shards.py looks at all of them",
        )
        return
    read = min(size, PROBE_BYTES) / 2**20
    yield ok(
        "data",
        f"{manifest.samples:,} images in {len(manifest.shards)} shards; {read:.1f} MiB of the "
        f"first in {took:.2f} s",
    )
