"""The labels of the ILSVRC2012 validation images, which their archive does not hold.

They come from the development kit as distributed, or from a text file. The kit numbers classes in
an order of its own (1 is the kit fox, not the tench): its ids are mapped to WordNet ids, and these
to their places in sorted order, which is what everybody trains with.
"""

import io
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from data_pipeline.sources.class_map import ClassMap
from data_pipeline.sources.entry import read_given
from system.foundation.errors import DataError

META = "data/meta.mat"
TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"
_NUMBER = re.compile(r"(\d+)$")
_LARGEST = 2**26  # bytes of either file; the real ones are 200 kB


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The WordNet id, or where only that is known the label, of each validation image."""

    place: str
    by_number: tuple[str, ...] = ()  # of image 1 and on
    by_name: dict[str, int] | None = None
    wnids: tuple[str, ...] = ()  # all classes that it knows; none where it has only labels

    def label(self, stem: str, classes: ClassMap) -> int:
        """The label of `ILSVRC2012_val_00000001`. Raises DataError where it has none."""
        if self.by_name is not None:
            found = self.by_name.get(stem)
            if found is None or not 0 <= found < len(classes.names):
                what = "no line" if found is None else f"label {found}"
                raise DataError(
                    f"{self.place}: {what} for {stem}, expected a label from 0 to "
                    f"{len(classes.names) - 1}."
                )
            return found
        match = _NUMBER.search(stem)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(self.by_number):
            raise DataError(
                f"{self.place}: {len(self.by_number)} lines, none for {stem}; expected one line "
                "for each validation image, in order of their numbers."
            )
        return classes.label(self.by_number[number - 1])


def read_devkit(url: str) -> GroundTruth:
    """The ground truth in `ILSVRC2012_devkit_t12.tar.gz`. Raises DataError where it is another."""
    content = read_given(url, "devkit")
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:*") as tar:
            synsets, lines = _content(url, tar, META), _content(url, tar, TRUTH).split()
    except (tarfile.TarError, EOFError, OSError) as problem:
        raise DataError(f"{url}: damaged archive ({problem}). Download it again.") from problem
    wnids = _wnids(url, synsets)
    try:
        truth = tuple(wnids[int(line)] for line in lines)
    except (ValueError, KeyError) as problem:
        raise DataError(
            f"{url}: {TRUTH} has {problem}, expected one of the {len(wnids)} ids of {META} on each "
            "line. Download it again."
        ) from problem
    return GroundTruth(f"{url}:{TRUTH}", by_number=truth, wnids=tuple(sorted(wnids.values())))


def read_ground_truth(url: str) -> GroundTruth:
    """The ground truth in a text file: a WordNet id on each line, or `NAME LABEL`.

    Raises DataError for anything else, and for the bare ids of the development kit.
    """
    text = read_given(url, "ground_truth").decode(errors="replace")
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if rows and all(len(row) == 1 for row in rows):
        if all(row[0].isdecimal() for row in rows):
            raise DataError(
                f"{url}: holds bare numbers. Those of the development kit are ids in an order of "
                "its own, not places in the sorted order of WordNet ids, and only the kit says "
                "which is which: give source.devkit=ILSVRC2012_devkit_t12.tar.gz instead."
            )
        wnids = tuple(row[0] for row in rows)
        return GroundTruth(url, by_number=wnids, wnids=tuple(sorted(set(wnids))))
    if rows and all(len(row) == 2 and row[1].isdecimal() for row in rows):
        labels = {row[0].rpartition("/")[2].partition(".")[0]: int(row[1]) for row in rows}
        if len(labels) == len(rows):
            return GroundTruth(url, by_name=labels)
    raise DataError(
        f"{url}: {len(rows)} lines that are neither one WordNet id each, in order of the images, "
        "nor `NAME LABEL` with each name once."
    )


def _content(url: str, tar: tarfile.TarFile, wanted: str) -> bytes:
    for member in tar:
        if member.isfile() and f"/{member.name}".endswith(f"/{wanted}") and member.size < _LARGEST:
            content = tar.extractfile(member)
            assert content is not None, "a regular member has content"
            return content.read()
    raise DataError(
        f"{url}: no {wanted} in this archive; expected ILSVRC2012_devkit_t12.tar.gz as distributed."
    )


def _wnids(url: str, content: bytes) -> dict[int, str]:
    """The WordNet id of each class id. (Ids past those of the leaves are their ancestors.)"""
    from scipy.io import loadmat  # half a second to import; only this needs it

    read: Callable[..., dict[str, Any]] = loadmat
    try:
        synsets = read(io.BytesIO(content), squeeze_me=True)["synsets"]
        return {
            int(one["ILSVRC2012_ID"]): str(one["WNID"])
            for one in synsets
            if int(one["num_children"]) == 0
        }
    except Exception as problem:  # what a foreign file makes of this reader is not foreseeable
        raise DataError(
            f"{url}: {META} is not the table of synsets ({type(problem).__name__}: {problem}). "
            "Download it again."
        ) from problem
