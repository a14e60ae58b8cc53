"""ILSVRC2012 as distributed: archives read in place, never unpacked, as a source.

The training archive is a tar of one tar for each class, named by its WordNet id; the label is the
place of that id among the sorted ones. The validation archive is flat; its labels come from the
development kit or from a file (ground_truth.py). Keys are those that the unpacked tree would give:
`n01440764/n01440764_10026`, and `n01751748/ILSVRC2012_val_00000001`.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal
from typing import Self

from pydantic import Field
from pydantic import model_validator

from data_pipeline.shards.manifest import Split
from data_pipeline.sources import archive_index
from data_pipeline.sources.archive import Buffered
from data_pipeline.sources.archive import Member
from data_pipeline.sources.archive import Stretches
from data_pipeline.sources.archive import open_stretches
from data_pipeline.sources.archive import walk
from data_pipeline.sources.archive_index import Found
from data_pipeline.sources.class_map import ClassMap
from data_pipeline.sources.class_map import alphabetical
from data_pipeline.sources.class_map import read_class_map
from data_pipeline.sources.entry import Entry
from data_pipeline.sources.entry import Source
from data_pipeline.sources.entry import extension_of
from data_pipeline.sources.entry import key_of
from data_pipeline.sources.entry import why_unsafe
from data_pipeline.sources.ground_truth import GroundTruth
from data_pipeline.sources.ground_truth import read_devkit
from data_pipeline.sources.ground_truth import read_ground_truth
from data_pipeline.sources.image_folder import REMOTE_CONCURRENCY
from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.settings.record import Record

SCANS = 64  # inner archives that are scanned at once in an object store
_EXTENSIONS = ("jpeg", "jpg")


class Ilsvrc2012(Record):
    """The archives of ImageNet's 2012 challenge as distributed, read in place."""

    kind: Literal["ilsvrc2012"] = "ilsvrc2012"
    train: str | None = Field(None, description="ILSVRC2012_img_train.tar, a file or url")
    validation: str | None = Field(
        None, description="ILSVRC2012_img_val.tar, a file or url; becomes the split held_out"
    )
    devkit: str | None = Field(
        None, description="ILSVRC2012_devkit_t12.tar.gz, with the labels of the validation images"
    )
    ground_truth: str | None = Field(
        None, description="text file in its place: a WordNet id on each line, or NAME LABEL"
    )
    class_map: str | None = Field(
        None, description="file with label and name of each WordNet id; null: by sorted ids"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.train is None and self.validation is None:
            raise ValueError("needs `train` or `validation`, or both")
        if (self.validation is None) != (self.devkit is None and self.ground_truth is None):
            raise ValueError("`validation` goes with one of `devkit` and `ground_truth`")
        if self.devkit is not None and self.ground_truth is not None:
            raise ValueError("give `devkit` or `ground_truth`, not both")
        return self


class IlsvrcReader:
    """Reads images out of the archives; a place is the archive, where in it, and the name there."""

    def __init__(self, recipe: Ilsvrc2012) -> None:
        self._urls = {"train": recipe.train, "validation": recipe.validation}
        self._files: dict[str, Stretches] = {}
        remote = [url for url in self._urls.values() if url and not storage.is_local(url)]
        self.concurrency = REMOTE_CONCURRENCY if remote else 1

    def read(self, entry: Entry) -> bytes:
        """The bytes of an image as they are."""
        which, start = str(entry.place[0]), int(entry.place[1])
        if which not in self._files:
            url = self._urls[which]
            assert url is not None, "entries come from archives of the recipe"
            self._files[which] = open_stretches(url)
        return self._files[which].read(start, entry.length)

    def where(self, entry: Entry) -> str:
        """The archive, the tar in it where there is one, and the member's name."""
        which, _, name = entry.place
        url = self._urls[str(which)]
        assert url is not None, "entries come from archives of the recipe"
        inner = f"{entry.key.partition('/')[0]}.tar/" if which == "train" else ""
        return f"{posixpath.basename(url)}: {inner}{name}"


def open_ilsvrc2012(recipe: Ilsvrc2012, keep: str | None = None) -> Source:
    """All images of the archives; what scanning found is kept in the folder `keep`.

    Raises DataError where an archive is damaged or of another kind, or a label is not known.
    """
    truth = _truth(recipe)
    train = [] if recipe.train is None else _found(recipe.train, keep, "train")
    validation = [] if recipe.validation is None else _found(recipe.validation, keep, "validation")
    if recipe.class_map is not None:
        classes = read_class_map(recipe.class_map)
    elif recipe.train is not None:
        classes = alphabetical((each.inner for each in train if each.inner), recipe.train)
    else:
        classes = _classes_of(truth)
    ignored: list[str] = []
    entries = [*_train_entries(train, classes, ignored)]
    if truth is not None:
        entries += _validation_entries(validation, truth, classes, ignored)
    if not entries:
        raise DataError(
            f"{recipe.train or recipe.validation}: no JPEG among its {len(ignored)} members; "
            "expected the archives of ILSVRC2012 as distributed."
        )
    return Source(classes.names, tuple(entries), tuple(ignored), IlsvrcReader(recipe))


def _truth(recipe: Ilsvrc2012) -> GroundTruth | None:
    if recipe.devkit is not None:
        return read_devkit(recipe.devkit)
    return None if recipe.ground_truth is None else read_ground_truth(recipe.ground_truth)


def _classes_of(truth: GroundTruth | None) -> ClassMap:
    """Of the validation images alone."""
    assert truth is not None, "the recipe has checked that"
    if truth.by_name is None:
        return alphabetical(truth.wnids, truth.place)
    count = max(truth.by_name.values()) + 1
    names = tuple(str(label) for label in range(count))
    return ClassMap(truth.place, {name: int(name) for name in names}, names)


def _found(url: str, keep: str | None, which: Literal["train", "validation"]) -> list[Found]:
    """What the archive holds, from the folder `keep` or by a scan."""
    file = open_stretches(url)
    place = None if keep is None else storage.join(keep, f"{which}.parquet")
    mark = archive_index.fingerprint(url)
    found = None if place is None else archive_index.load(place, mark)
    if found is None:
        outer = [*walk(_for_scanning(file, url))]
        found = _scan_inner(file, url, outer) if which == "train" else _flat(url, outer)
        if place is not None:
            archive_index.save(place, mark, found)
    return found


def _for_scanning(file: Stretches, url: str) -> Stretches:
    return file if storage.is_local(url) else Buffered(file)


def _scan_inner(file: Stretches, url: str, outer: list[Member]) -> list[Found]:
    """Members of all inner archives; what is no archive is listed as it is."""
    inner = [each for each in outer if _is_inner(each)]
    if not inner:
        raise DataError(
            f"{url}: no tars among the {len(outer)} members of this archive; expected one for each "
            "class, as in ILSVRC2012_img_train.tar. Is it that of the validation images?"
        )

    def scan(tar: Member) -> list[Found]:
        name = posixpath.basename(tar.name).removesuffix(".tar")
        try:
            members = [*walk(_for_scanning(file, url), tar.start, tar.start + tar.length)]
        except DataError as problem:
            raise DataError(f"{tar.name} in {problem}") from problem
        return [Found(name, each) for each in members]

    others = [Found("", each) for each in outer if not _is_inner(each)]
    if storage.is_local(url):
        scanned = [scan(tar) for tar in inner]
    else:
        with ThreadPoolExecutor(SCANS) as pool:
            scanned = [*pool.map(scan, inner)]
    return others + [each for one in scanned for each in one]


def _is_inner(member: Member) -> bool:
    return member.is_file and extension_of(member.name) == "tar"


def _flat(url: str, outer: list[Member]) -> list[Found]:
    if not any(each.is_file and extension_of(each.name) in _EXTENSIONS for each in outer):
        raise DataError(
            f"{url}: no JPEG among the {len(outer)} members of this archive; expected "
            "ILSVRC2012_val_00000001.JPEG and on. Is it that of the training images?"
        )
    return [Found("", each) for each in outer]


def _train_entries(found: list[Found], classes: ClassMap, ignored: list[str]) -> Iterator[Entry]:
    for each in found:
        path = f"{each.inner}/{each.member.name.removeprefix('./')}"
        reason = "not in the tar of a class" if not each.inner else _why_not(each.member, path)
        if reason is not None:
            ignored.append(f"{path.lstrip('/')!r} ({reason})")
            continue
        yield _entry(each.member, path, "train", classes.label(each.inner))


def _validation_entries(
    found: list[Found], truth: GroundTruth, classes: ClassMap, ignored: list[str]
) -> Iterator[Entry]:
    names = defaultdict(str, {label: wnid for wnid, label in classes.labels.items()})
    for each in found:
        file = each.member.name.removeprefix("./")
        reason = _why_not(each.member, file)
        if reason is not None:
            ignored.append(f"{file!r} ({reason})")
            continue
        label = truth.label(posixpath.basename(file).partition(".")[0], classes)
        path = f"{names[label]}/{posixpath.basename(file)}"
        yield _entry(each.member, path, "validation", label)


def _why_not(member: Member, path: str) -> str | None:
    if not member.is_file:
        return "a folder, link or device"
    reason = why_unsafe(path)
    if reason is None and extension_of(path) not in _EXTENSIONS:
        reason = "no JPEG by its name"
    return reason


def _entry(member: Member, path: str, which: str, label: int) -> Entry:
    split: Split = "train" if which == "train" else "held_out"
    place = (which, member.start, member.name.removeprefix("./"))
    return Entry(key_of(path), label, extension_of(path), member.length, split, place)
