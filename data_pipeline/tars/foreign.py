"""A manifest for shards that came without one: any WebDataset tars of images with labels.

    python jobs/index_shards.py s3://bucket/shards classes=1000
    python jobs/index_shards.py s3://bucket/train-{000..127}.tar class_names=names.txt

Every shard is read once, from front to back. The manifest is written beside them.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from typing import Self

import numpy as np
import xxhash
from pydantic import Field
from pydantic import model_validator

from data_pipeline.images.decode import BadSample
from data_pipeline.images.decode import read_appearance
from data_pipeline.shards.manifest import MANIFEST_NAME
from data_pipeline.shards.manifest import Manifest
from data_pipeline.shards.manifest import write_manifest
from data_pipeline.shards.shard import Shard
from data_pipeline.shards.shard import Split
from data_pipeline.shards.shard import make_shard
from data_pipeline.shards.shard import split_counts
from data_pipeline.tars.index import Indexed
from data_pipeline.tars.index import index_shard
from data_pipeline.tars.labelling import Labelling
from data_pipeline.tars.labelling import read_class_names
from data_pipeline.tars.listing import expanded
from data_pipeline.tars.listing import find_files
from data_pipeline.tars.listing import split_url
from data_pipeline.tars.tar_stream import Opened
from data_pipeline.tars.tar_stream import read_all
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.wording import counted


class Indexing(Record):
    """Shards without a manifest, and how they are to be understood."""

    url: str = Field(
        "shards",
        description="folder or url of the shards; or URL/{000..127}.tar with their names",
    )
    names: str = Field("*.tar", description="their names, with *, ?, {000..127} and folders/")
    classes: PositiveInt | None = Field(None, description="number of classes: labels 0 … classes-1")
    class_names: str | None = Field(
        None,
        description="in place of `classes`: a file with a NAME or a LABEL NAME on each line",
    )
    label_field: str | None = Field(
        None, description="field of the json members that holds the label; null: cls members"
    )
    image: str | None = Field(
        None, description="extension of the images, where samples have several; null: the only one"
    )
    channels: Literal[1, 3] = Field(3, description="what readers decode to: 1 grey, 3 colour")
    held_out: tuple[str, ...] = Field(
        ("held_out*", "{,*[-_]}val{,idation}[-_./0-9]*"),
        description="names of shards that are held out, with *, ? and {a,b}",
    )
    on_existing: Literal["refuse", "replace"] = Field(
        "refuse", description="what to do where there is a manifest already"
    )
    threads: PositiveInt = Field(4, description="shards read at one time")

    @model_validator(mode="after")
    def _told_of_classes(self) -> Self:
        if self.classes is not None and self.class_names is not None:
            raise ValueError("`classes` and `class_names` both say how many there are: give one")
        return self


@dataclass(frozen=True, slots=True)
class IndexedSet:
    """The manifest of foreign shards, and the names of members that are in no sample."""

    manifest: Manifest
    passed_over: tuple[str, ...]

    def summary(self) -> str:
        """What was found, for people."""
        manifest = self.manifest
        size = manifest.image_size
        lines = [
            f"{manifest.url}: {counted(manifest.samples, 'image')} of {manifest.classes} classes, "
            f"{split_counts(manifest.shards)}",
            "images of several sizes" if size is None else f"images of {size}x{size}",
        ]
        if self.passed_over:
            shown = ", ".join(self.passed_over[:3])
            members = counted(len(self.passed_over), "member")
            lines.append(f"in no sample: {members}, such as {shown}")
        return "\n".join(lines)


def index_shards(recipe: Indexing) -> IndexedSet:
    """Index shards as the recipe says, and write their manifest beside them.

    Raises DataError for whatever readers could not use (see `index_shard`), for keys in two
    shards, and where there is a manifest that may not be replaced.
    """
    url = split_url(recipe.url, recipe.names)[0]
    place = storage.join(url, MANIFEST_NAME)
    if recipe.on_existing == "refuse" and storage.exists(place):
        raise DataError(
            f"{place}: there is a manifest already. `python jobs/verify_shards.py {url}` tells "
            "whether it is right; on_existing=replace writes another over it."
        )
    found = build_manifest(recipe)
    write_manifest(found.manifest)
    return found


def build_manifest(recipe: Indexing) -> IndexedSet:
    """The manifest of these shards, not written. Raises DataError, as `index_shards` does."""
    url, names = split_url(recipe.url, recipe.names)
    sizes = find_files(url, names)
    labelling = Labelling(_class_names(recipe), recipe.image, recipe.label_field)
    indexed = list(
        read_all(
            url,
            sizes,
            lambda opened: _index(opened, labelling),
            threads=recipe.threads,
            title=f"indexing {counted(len(sizes), 'shard')}",
        )
    )
    shards = tuple(
        make_shard(name, _split_of(name, recipe), each.bytes, each.digest, each.index)
        for name, (each, _) in zip(sizes, indexed, strict=True)
    )
    check_keys(url, shards)
    manifest = Manifest(
        url=url,
        shards=shards,
        channels=recipe.channels,
        class_names=labelling.class_names,
        image_size=_only_side({size for _, found in indexed for size in found}),
        options={
            "indexed": {"names": names, "image": recipe.image, "label_field": recipe.label_field}
        },
    )
    return IndexedSet(manifest, tuple(name for each, _ in indexed for name in each.passed_over))


def labelling_of(manifest: Manifest) -> Labelling:
    """How the samples of a manifest's shards were told from their members."""
    told = manifest.options.get("indexed", {})
    return Labelling(manifest.class_names, told.get("image"), told.get("label_field"))


def check_keys(url: str, shards: Sequence[Shard]) -> None:
    """Raise DataError where two shards have one key; eight bytes a key, not the keys, are held."""
    hashes = [
        np.array([xxhash.xxh3_64_intdigest(key.encode()) for key in shard.index.keys], np.uint64)
        for shard in shards
    ]
    every = np.sort(np.concatenate(hashes))
    doubled = every[1:][every[1:] == every[:-1]]
    owners: dict[str, str] = {}
    for shard, each in zip(shards, hashes, strict=True):
        for row in np.flatnonzero(np.isin(each, doubled)):
            key = shard.index.keys[int(row)]
            if key in owners:
                raise DataError(
                    f"{url}: key {key!r} is in {owners[key]} and in {shard.name}. A key names one "
                    "sample: write these shards again with keys of their own, or leave one out."
                )
            owners[key] = shard.name


def _class_names(recipe: Indexing) -> tuple[str, ...]:
    if recipe.class_names is not None:
        return read_class_names(recipe.class_names)
    if recipe.classes is None:
        raise DataError(
            f"{recipe.url}: shards do not say how many classes there are. Give classes=1000 for "
            "labels 0 to 999, or class_names=FILE with a name on each line."
        )
    return tuple(str(label) for label in range(recipe.classes))


def _split_of(name: str, recipe: Indexing) -> Split:
    file = name.rsplit("/", 1)[-1]
    patterns = [each for held_out in recipe.held_out for each in expanded(held_out)]
    is_held_out = any(
        fnmatch.fnmatchcase(each, pattern) for pattern in patterns for each in (file, name)
    )
    return "held_out" if is_held_out else "train"


def _index(opened: Opened, labelling: Labelling) -> tuple[Indexed, set[tuple[int, int]]]:
    """The index of a shard, and up to two sizes of its images: enough to tell one from several."""
    sizes: set[tuple[int, int]] = set()

    def look(data: bytes) -> None:
        if len(sizes) < 2:
            try:
                seen = read_appearance(data)
            except BadSample:
                return  # readers count it; it says nothing of the others' size
            sizes.add((seen.width, seen.height))

    return index_shard(opened.stream(), labelling, look), sizes


def _only_side(sizes: set[tuple[int, int]]) -> int | None:
    if len(sizes) != 1:
        return None
    width, height = next(iter(sizes))
    return width if width == height else None
