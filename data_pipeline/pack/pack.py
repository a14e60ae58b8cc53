"""The packer: images of any source into WebDataset tar shards, the same bytes every time.

Samples are put in the order of a hash of their keys, so a shard mixes all classes; the same hash
family decides which are held out, unless the source has splits of its own. Each shard appears whole
or not at all, the manifest last.
"""

import io
import json
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import Literal
from typing import get_args

import webdataset
import xxhash
from pydantic import Field
from rich.console import Console
from rich.progress import Progress

from data_pipeline.images.crop import centre_crop
from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import decode
from data_pipeline.images.decode import encode_png
from data_pipeline.images.decode import read_appearance
from data_pipeline.pack.report import PackReport
from data_pipeline.shards.index import index_shard
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import Shard
from data_pipeline.shards.manifest import Split
from data_pipeline.shards.manifest import check_shards
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import write_manifest
from data_pipeline.sources.source import Entry
from data_pipeline.sources.source import Source
from data_pipeline.sources.source import SourceRecipe
from data_pipeline.sources.source import open_source
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.record import Fraction
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

STATEMENT_NAME = "pack.json"  # written first: what this folder is being packed from and with


class PackRecipe(Record):
    """What to pack, how, and where to."""

    source: SourceRecipe = Field(description="where the images come from")
    out: str = Field(description="folder or url that the shards are written to")
    channels: Literal[1, 3] = Field(3, description="what readers decode to: 1 grey, 3 colour")
    crop_size: PositiveInt | None = Field(
        None, description="side of ADM centre crops stored as PNG; null keeps the original bytes"
    )
    held_out_fraction: Fraction = Field(
        0.0,
        description="share of samples held out, by key hash; 0 where the source has its own splits",
    )
    shard_samples: PositiveInt = Field(1000, description="images per shard")
    check: Literal["decode", "header"] = Field(
        "decode",
        description="decode: every image is decoded whole; header: only its header is read",
    )
    max_bad_fraction: Fraction = Field(
        0.001, description="share of unusable images past which packing stops"
    )


@dataclass(frozen=True, slots=True)
class Packed:
    """The manifest, and the report; no report where the same pack was there already."""

    manifest: Manifest
    report: PackReport | None

    def summary(self) -> str:
        """One line for people."""
        done = "already packed, nothing to do" if self.report is None else self.report.summary()
        manifest = self.manifest
        return f"{manifest.url}: {done}; {manifest.samples} images in {len(manifest.shards)} shards"


def pack(recipe: PackRecipe) -> Packed:
    """Pack as the recipe says; over the same finished pack, do nothing.

    Raises DataError where the source is empty or ambiguous, where other data lies at `out`, or
    where more than `max_bad_fraction` of the images cannot be used.
    """
    source = open_source(recipe.source)
    _check_splits(recipe, source)
    statement = {"options": _options(recipe), "source_digest": _source_digest(source)}
    finished = _finished_pack(recipe.out, statement)
    if finished is not None:
        return Packed(finished, None)
    storage.write_bytes(storage.join(recipe.out, STATEMENT_NAME), json.dumps(statement).encode())
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(f"packing {recipe.out}", total=len(source.entries))
        packer = _Packer(recipe, source, lambda: progress.advance(task))
        written = [packer.write(name, indices) for name, indices in _plan(recipe, source.entries)]
    shards = tuple(shard for shard in written if shard is not None)
    manifest = Manifest(
        url=recipe.out,
        shards=shards,
        channels=recipe.channels,
        class_names=source.class_names,
        image_size=packer.image_size(),
        options=_options(recipe),
    )
    packer.report.write(recipe.out)
    write_manifest(manifest)
    return Packed(manifest, packer.report)


class _Packer:
    """Writes shards one after another, and keeps the account."""

    def __init__(self, recipe: PackRecipe, source: Source, advance: Callable[[], None]) -> None:
        self.report = PackReport(len(source.entries), recipe.max_bad_fraction, source.ignored)
        self._advance = advance
        self._recipe = recipe
        self._source = source
        self._sizes: set[tuple[int, int]] = set()

    def write(self, name: str, indices: Sequence[int]) -> Shard | None:
        """The shard of these entries, written; None where none of them could be used."""
        place = storage.join(self._recipe.out, name)
        target = io.BytesIO()
        written = 0
        with webdataset.TarWriter(target, user="", group="", encoder=False, mtime=0) as tar:
            for index in indices:
                sample = self._sample(index)
                if sample is not None:
                    tar.write(sample)
                    written += 1
                self._advance()
        if not written:
            return None
        self.report.packed += written
        storage.write_bytes(place, target.getvalue())
        return index_shard(place, target.getvalue())

    def image_size(self) -> int | None:
        """The side, where all images written are squares of one size."""
        if len(self._sizes) != 1:
            return None
        width, height = next(iter(self._sizes))
        return width if width == height else None

    def _sample(self, index: int) -> dict[str, Any] | None:
        entry = self._source.entries[index]
        try:
            extension, data = self._image(entry, self._source.read(index))
        except BadSample as problem:
            self.report.leave_out(entry.key, str(problem))
            return None
        return {"__key__": entry.key, extension: data, "cls": str(entry.label).encode()}

    def _image(self, entry: Entry, data: bytes) -> tuple[str, bytes]:
        look = read_appearance(data)
        if look.mode not in ("L", "RGB"):
            self.report.note(entry.key, f"mode {look.mode}")
        if look.is_rotated:
            self.report.note(entry.key, "rotated by EXIF, used as stored")
        size, crop_size = (look.width, look.height), self._recipe.crop_size
        if crop_size is not None or self._recipe.check == "decode":
            decoded = decode(data, self._recipe.channels)
            if decoded.fallback is not None:
                self.report.note(entry.key, decoded.fallback)
            if crop_size is not None:
                self._sizes.add((crop_size, crop_size))
                return "png", encode_png(centre_crop(decoded.image, crop_size))
        self._sizes.add(size)
        return entry.extension, data


def _plan(recipe: PackRecipe, entries: Sequence[Entry]) -> Iterator[tuple[str, list[int]]]:
    """The name of every shard and the entries in it, known before any image is read."""
    ranked = sorted(
        range(len(entries)), key=lambda index: xxhash.xxh3_128_digest(entries[index].key.encode())
    )
    for split in get_args(Split):
        chosen = [i for i in ranked if _split_of(entries[i], recipe.held_out_fraction) == split]
        for number, first in enumerate(range(0, len(chosen), recipe.shard_samples)):
            yield f"{split}-{number:06d}.tar", chosen[first : first + recipe.shard_samples]


def _check_splits(recipe: PackRecipe, source: Source) -> None:
    if recipe.held_out_fraction and any(entry.split is not None for entry in source.entries):
        raise DataError(
            f"held_out_fraction={recipe.held_out_fraction:g}, but the source {recipe.source.kind} "
            "has splits of its own; expected held_out_fraction=0 there."
        )


def _split_of(entry: Entry, held_out_fraction: float) -> Split:
    if entry.split is not None:
        return entry.split
    share = xxhash.xxh3_64_intdigest(f"split/{entry.key}".encode()) / 2**64
    return "held_out" if share < held_out_fraction else "train"


def _options(recipe: PackRecipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude={"out"})


def _source_digest(source: Source) -> str:
    state = xxhash.xxh3_128(json.dumps(source.class_names).encode())
    for entry in source.entries:
        row = [entry.key, entry.label, entry.extension, entry.length]
        row += [] if entry.split is None else [entry.split]
        state.update(json.dumps(row).encode())
    return state.hexdigest()


def _finished_pack(out: str, statement: dict[str, Any]) -> Manifest | None:
    """The manifest of the same pack, finished and intact. Raises DataError over anything else."""
    place = storage.join(out, STATEMENT_NAME)
    present = storage.list_sizes(out)
    if STATEMENT_NAME not in present:
        foreign = sorted(n for n in present if n.endswith(".tar") or n == MANIFEST_NAME)
        if foreign:
            raise DataError(
                f"{out}: holds {foreign[0]} and {len(foreign) - 1} more files of a data set, but "
                f"no {STATEMENT_NAME} of this packer. Nothing was changed; give another `out`."
            )
        return None
    try:
        there = json.loads(storage.read_bytes(place))
    except ValueError as problem:
        raise DataError(f"{place}: damaged ({problem}). Give another `out`.") from problem
    if there != statement:
        changed = _differences(there, statement)
        raise DataError(
            f"{out}: already holds another pack (different: {', '.join(changed)}). Nothing was "
            "changed; give another `out`, or remove that folder first."
        )
    if MANIFEST_NAME not in present:
        return None
    try:
        manifest = parse_manifest(out)
        check_shards(manifest)
    except DataError:
        return None  # the same command restores what was damaged, byte for byte
    return manifest


def _differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    old, new = there.get("options", {}), here["options"]
    changed = [key for key in new if old.get(key) != new[key]]
    if there.get("source_digest") != here["source_digest"]:
        changed.append("the source's files")
    return changed or ["its statement"]
