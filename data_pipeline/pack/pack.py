"""The packer: images of any source into WebDataset tar shards, the same bytes every time.

What goes into which shard is planned before any image is read (plan.py); each shard is then made by
itself (pack_shard.py), here or by the workers of a Ray cluster (tasks.py), and appears whole or not
at all. A pack that was killed is taken up by the same call: finished shards are not made again
(unfinished.py). The manifest comes last.
"""

from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from collections.abc import Set
from contextlib import AbstractContextManager
from contextlib import closing
from contextlib import contextmanager
from contextlib import nullcontext
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

from data_pipeline.pack.bar import PackBar
from data_pipeline.pack.pack_shard import PackedShard
from data_pipeline.pack.pack_shard import pack_shard
from data_pipeline.pack.plan import PlannedShard
from data_pipeline.pack.plan import first_of_each_key
from data_pipeline.pack.plan import plan
from data_pipeline.pack.plan import split_of
from data_pipeline.pack.recipe import PackRecipe
from data_pipeline.pack.recipe import check_places
from data_pipeline.pack.recipe import with_absolute_paths
from data_pipeline.pack.report import PackReport
from data_pipeline.pack.unfinished import Unfinished
from data_pipeline.pack.unfinished import options_of
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import write_manifest
from data_pipeline.shards.shard import split_counts
from data_pipeline.sources.entry import Entry
from data_pipeline.sources.entry import Source
from data_pipeline.sources.source import open_source
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.wording import counted


@dataclass(frozen=True, slots=True)
class Packed:
    """The manifest, and the report; no report where the same pack was there already."""

    manifest: Manifest
    report: PackReport | None
    restored: int = 0  # shards that a finished pack had lost

    def summary(self) -> str:
        """One line for people."""
        if self.report is not None:
            done = self.report.summary()
        elif self.restored:
            done = f"already packed, {counted(self.restored, 'missing or damaged shard')} restored"
        else:
            done = "already packed, nothing to do"
        return f"{self.manifest.url}: {done}; {split_counts(self.manifest.shards)}"


def pack(
    recipe: PackRecipe, *, cluster: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Packed:
    """Pack as the recipe says; over the same finished pack, make only shards that it has lost.

    `cluster` connects to a Ray, and is entered only where there is work for its workers.
    Raises DataError where the source is empty or ambiguous, where other data lies at `out`, or
    where more than `max_bad_fraction` of the images cannot be used.
    """
    check_places(recipe, Path.cwd())
    state = Unfinished(recipe)
    state.check_options()
    source = open_source(recipe.source, state.folder)
    kept, report = _without_repeated_keys(recipe, source)
    planned = {shard.name: shard for shard in plan(recipe, kept)}
    finished = state.start(source)
    packer = _Packer(recipe, source, planned, cluster)
    if finished is None:
        packed = packer.finish(state, report)
    else:
        packed = packer.restore(finished, state.lost(finished))
    state.clear()
    return packed


@dataclass(frozen=True, slots=True)
class _Packer:
    """Makes those of the planned shards that are not there."""

    recipe: PackRecipe
    source: Source
    planned: Mapping[str, PlannedShard]
    cluster: Callable[[], AbstractContextManager[object]]

    def finish(self, state: Unfinished, report: PackReport) -> Packed:
        """Make all that are not done, then the report and the manifest of all."""
        done = state.done(self.planned)
        so_far = _added_up(report, done.values())
        so_far.check(self.recipe.out)
        with self._making(self.planned.keys() - done.keys()) as work:
            for packed in work:
                so_far.add(packed.report)
                so_far.check(self.recipe.out)  # to stop as soon as there are too many bad ones
                state.keep(packed)
                done[packed.name] = packed
        in_order = [done[name] for name in self.planned]
        report = _added_up(report, in_order)
        manifest = _manifest(self.recipe, self.source, in_order)
        report.write(self.recipe.out)
        write_manifest(manifest)
        return Packed(manifest, report)

    def restore(self, manifest: Manifest, lost: Set[str]) -> Packed:
        """Make again what a finished pack has lost. Raises DataError where it is not the same."""
        expected = {shard.name: shard.digest for shard in manifest.shards}
        with self._making(lost) as work:
            for packed in work:
                found = None if packed.shard is None else packed.shard.digest
                if found != expected[packed.name]:
                    place = storage.join(manifest.url, packed.name)
                    storage.remove(place)  # what nobody can tell from the right one by its size
                    raise DataError(
                        f"{place}: made again it has digest "
                        f"{found}, and the manifest says {expected[packed.name]}: the source's "
                        "images or the libraries that decode them have changed. Pack into another "
                        "folder."
                    )
        return Packed(manifest, None, len(lost))

    @contextmanager
    def _making(self, names: Set[str]) -> Iterator[Iterator[PackedShard]]:
        """The shards of these names as they are done, before a bar."""
        left = [shard for name, shard in self.planned.items() if name in names]
        total = sum(len(shard.entries) for shard in self.planned.values())
        missing = sum(len(shard.entries) for shard in left)
        with (
            closing(self._work(left)) as work,
            PackBar(self.recipe.out, total, total - missing) as bar,
        ):
            yield bar.follow(work, self.planned)

    def _work(self, shards: Sequence[PlannedShard]) -> Generator[PackedShard]:
        """Here, or by the workers of a cluster."""
        total = len(self.source.entries)
        if self.recipe.workers == 0:
            for planned in shards:
                yield pack_shard(planned, self.recipe, self.source.reader, total)
        elif shards:
            with self.cluster():
                # A second to import, and only once the cluster is known.
                from data_pipeline.pack.tasks import pack_by_tasks

                yield from pack_by_tasks(shards, with_absolute_paths(self.recipe), total)


def _without_repeated_keys(recipe: PackRecipe, source: Source) -> tuple[list[Entry], PackReport]:
    """The first image of each key in the order of the source, and a report of the others."""
    report = PackReport(len(source.entries), recipe.max_bad_fraction, source.ignored)
    kept, repeated = first_of_each_key(source.entries)
    where = source.reader.where
    for entry, first in repeated:
        split = split_of(entry, recipe.held_out_fraction)
        about = {"key": entry.key, "place": where(entry), "split": split}
        report.leave_out(about | {"kept": where(first)}, "duplicate key")
    return kept, report


def _added_up(start: PackReport, parts: Iterable[PackedShard]) -> PackReport:
    """What was known at the start, and the account of these shards in their order."""
    report = replace(start, left_out=[*start.left_out], unusual=[*start.unusual])
    for part in parts:
        report.add(part.report)
    return report


def _manifest(recipe: PackRecipe, source: Source, packed: Sequence[PackedShard]) -> Manifest:
    sizes = {size for each in packed for size in each.sizes}
    width, height = next(iter(sizes)) if len(sizes) == 1 else (0, -1)
    return Manifest(
        url=recipe.out,
        shards=tuple(each.shard for each in packed if each.shard is not None),
        channels=recipe.channels,
        class_names=source.class_names,
        image_size=width if width == height else None,
        options=options_of(recipe),
    )
