"""One shard, from its plan to the tar at its place: what a worker does."""

from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import decode
from data_pipeline.pack.look import look_at
from data_pipeline.pack.plan import PlannedShard
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.recipe import Square
from data_pipeline.pack.report import PackReport
from data_pipeline.pack.store import to_stored_square
from data_pipeline.pack.tar_shard import TarShard
from data_pipeline.shards.shard import Shard
from data_pipeline.shards.shard import make_shard
from data_pipeline.sources.entry import Entry
from data_pipeline.sources.entry import Reader
from data_pipeline.sources.patience import patiently
from system.foundation import storage

Sizes = tuple[tuple[int, int], ...]  # up to two different (width, height): enough to tell one size


@dataclass(frozen=True, slots=True)
class PackedShard:
    """A shard that lies at its place, and its part of the account."""

    name: str
    shard: Shard | None  # None where no image, or not enough, could be used: there is no tar then
    sizes: Sizes
    read: int  # bytes
    report: PackReport


def pack_shard(
    planned: PlannedShard, recipe: PackRecipe, reader: Reader, total: int
) -> PackedShard:
    """Write the tar of these entries, whole or not at all.

    `total` is the number of images of the whole pack. Where this shard alone passes
    `max_bad_fraction` of it no tar is written, and the report ends there.
    """
    report = PackReport(total, recipe.max_bad_fraction)
    tar = TarShard()
    sizes: dict[tuple[int, int], None] = {}
    read = 0
    for entry, data in _contents(reader, planned.entries):
        about = {"key": entry.key, "place": reader.where(entry), "split": planned.split}
        try:
            if isinstance(data, BadSample):
                raise data
            read += len(data)
            extension, stored, size, notes = _image(entry, data, recipe)
        except BadSample as problem:
            report.leave_out(about, str(problem))
            if report.is_past_bound:
                return PackedShard(planned.name, None, (), read, report)
            continue
        for note in notes:
            report.note(about, note)
        tar.add(entry.key, extension, stored, entry.label)
        report.packed += 1
        if len(sizes) < 2:
            sizes[size] = None
    shard = None if not report.packed else _write(planned, recipe, tar)
    return PackedShard(planned.name, shard, tuple(sizes), read, report)


def _write(planned: PlannedShard, recipe: PackRecipe, tar: TarShard) -> Shard:
    digest = tar.finish()
    place = storage.join(recipe.out, planned.name)
    patiently(place, lambda: storage.write_parts(place, tar.parts))
    return make_shard(planned.name, planned.split, tar.size, digest, tar.index())


def _image(
    entry: Entry, data: bytes, recipe: PackRecipe
) -> tuple[str, bytes, tuple[int, int], tuple[str, ...]]:
    """Extension, bytes and size of what is stored, and what is unusual about it.

    Raises BadSample for what cannot be used.
    """
    look = look_at(data, entry.extension, recipe.channels)
    extension, stored, size = entry.extension or look.extension, data, (look.width, look.height)
    fallback = None
    if isinstance(recipe.store, Square):
        stored, fallback = to_stored_square(data, recipe.channels, recipe.store)
        extension, size = recipe.store.format, (recipe.store.size, recipe.store.size)
    elif recipe.check == "decode":
        fallback = decode(data, recipe.channels).fallback
    return extension, stored, size, (*look.notes, *filter(None, [fallback]))


def _contents(
    reader: Reader, entries: Sequence[Entry]
) -> Iterator[tuple[Entry, bytes | BadSample]]:
    """Each entry and its bytes, in order; from an object store several are under way at once."""
    if reader.concurrency == 1:
        for entry in entries:
            yield entry, _content(reader, entry)
        return
    waiting: deque[tuple[Entry, Future[bytes | BadSample]]] = deque()
    following = iter(entries)
    with ThreadPoolExecutor(reader.concurrency) as pool:
        try:
            while True:
                for entry in islice(following, 2 * reader.concurrency - len(waiting)):
                    waiting.append((entry, pool.submit(_content, reader, entry)))
                if not waiting:
                    return
                entry, future = waiting.popleft()
                yield entry, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _content(reader: Reader, entry: Entry) -> bytes | BadSample:
    try:
        return reader.read(entry)
    except BadSample as problem:
        return problem
