"""Where the samples of a tar lie, read from the tar alone, in one pass.

For shards that came without a manifest, and to see whether a shard says what its manifest says.
Consecutive members of one key are a sample, as webdataset groups them; what webdataset passes over
(`__meta__`, names without a key or an extension) is passed over.
"""

import re
import tarfile
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field

import numpy as np
import xxhash

from data_pipeline.images.decode import EXTENSIONS
from data_pipeline.shards.columns import ShardIndex
from data_pipeline.sources.archive import Member
from data_pipeline.sources.archive import walk
from data_pipeline.tars.labelling import Labelling
from data_pipeline.tars.tar_stream import TarStream
from system.foundation.errors import DataError

LONGEST_LABEL = 2**20  # bytes of a member that holds a label
_NAME = re.compile(r"(?P<key>(?:.*/)?[^./]+)\.(?P<extension>[^/]+)", re.DOTALL)
_META = re.compile(r"__[^/]*__($|/)")
_TYPE_AT = 156  # of a tar's header
_TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a file with holes",
}
_FOLDER = b"5"
_WRITE_AGAIN = "Write this shard again: each sample one image and one label, with a key of its own."


@dataclass(frozen=True, slots=True)
class Indexed:
    """What one pass over a shard found."""

    bytes: int
    digest: str  # xxh3-128 of the file, hexadecimal
    index: ShardIndex
    passed_over: tuple[str, ...]  # members that belong to no sample


@dataclass(slots=True)
class _Sample:
    """What has been seen of one sample while its members pass."""

    key: str
    start: int  # of its first member, then of its image
    label: int | None = None
    length: int = 0
    digest: int = 0
    has_image: bool = False
    extensions: list[str] = field(default_factory=list)


def index_shard(
    stream: TarStream, labelling: Labelling, look: Callable[[bytes], None] = lambda _: None
) -> Indexed:
    """The index of a shard, from one pass over it. `look` is shown each image.

    Raises DataError, naming url, key and bytes, for a tar that is damaged, cut off or empty, for
    links and devices, for names that leave the folder, for keys that come twice, and for samples
    without one image and one label of a known class.
    """
    passed_over: list[str] = []
    samples: dict[str, _Sample] = {}
    for sample in _samples(stream, labelling, look, passed_over):
        other = samples.setdefault(sample.key, sample)
        if other is not sample:
            raise _refused(
                stream, sample.start, sample.length,
                f"two samples have the key {sample.key!r}, the first at byte {other.start}",
            )  # fmt: skip
    if not samples:
        raise DataError(
            f"{stream.url}: no samples in this tar of {stream.size} bytes. {_WRITE_AGAIN}"
        )
    found = list(samples.values())
    index = ShardIndex(
        keys=tuple(samples),
        labels=np.array([sample.label for sample in found], np.int32),
        offsets=np.array([sample.start for sample in found], np.int64),
        lengths=np.array([sample.length for sample in found], np.int64),
        digests=np.array([sample.digest for sample in found], np.uint64),
    )
    return Indexed(stream.size, stream.finish(), index, tuple(passed_over))


def _samples(
    stream: TarStream,
    labelling: Labelling,
    look: Callable[[bytes], None],
    passed_over: list[str],
) -> Iterator[_Sample]:
    """Consecutive members of one key."""
    current: _Sample | None = None
    for member in walk(stream):
        named = _names(stream, member)
        if named is None:
            passed_over.append(member.name)
            continue
        key, extension = named
        if current is None or current.key != key:
            if current is not None:
                yield _complete(stream, current, labelling)
            current = _Sample(key, member.start)
        if extension in current.extensions:
            raise _refused(stream, member.start, member.length, f"a second member {member.name!r}")
        current.extensions.append(extension)
        if _is_image(extension, labelling):
            look(_take_image(stream, member, current))
        elif extension == labelling.extension:
            current.label = _label(stream, member, labelling)
    if current is not None:
        yield _complete(stream, current, labelling)


def _names(stream: TarStream, member: Member) -> tuple[str, str] | None:
    """Key and extension; None for what belongs to no sample. Raises DataError."""
    kind = stream.read(member.start - tarfile.BLOCKSIZE + _TYPE_AT, 1)
    if kind == _FOLDER or _META.match(member.name):
        return None
    what = None
    if member.name.startswith("/") or ".." in member.name.split("/"):
        what = "whose path leaves the shard's own folder"
    elif kind in _TYPES or not member.is_file:
        what = f"that is {_TYPES.get(kind, 'no file')}"
    elif not _is_text(member.name):
        what = "whose name is not UTF-8"
    if what is not None:
        raise _refused(stream, member.start, member.length, f"a member {member.name!r} {what}")
    match = _NAME.fullmatch(member.name)
    return None if match is None else (match["key"], match["extension"].lower())


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_image(extension: str, labelling: Labelling) -> bool:
    if labelling.image is None:
        return extension in EXTENSIONS
    return extension == labelling.image


def _take_image(stream: TarStream, member: Member, sample: _Sample) -> bytes:
    if sample.has_image:
        raise _refused(
            stream, member.start, member.length,
            f"a second image {member.name!r} of one sample; say which is meant with `image=`",
        )  # fmt: skip
    data = stream.read(member.start, member.length)
    sample.start, sample.length, sample.has_image = member.start, member.length, True
    sample.digest = xxhash.xxh3_64_intdigest(data)
    return data


def _label(stream: TarStream, member: Member, labelling: Labelling) -> int:
    if member.length > LONGEST_LABEL:
        raise _refused(
            stream, member.start, member.length, f"a label {member.name!r} of {member.length} bytes"
        )
    try:
        return labelling.read(stream.read(member.start, member.length))
    except ValueError as problem:
        raise _refused(
            stream, member.start, member.length, f"{member.name!r} has {problem}"
        ) from problem


def _complete(stream: TarStream, sample: _Sample, labelling: Labelling) -> _Sample:
    wanted = labelling.image or " or ".join(EXTENSIONS)
    lacks = [] if sample.has_image else [f"image ({wanted})"]
    if sample.label is None:
        lacks.append(f"label ({labelling.extension}; `label_field=` reads a field of json members)")
    if lacks:
        raise _refused(
            stream, sample.start, sample.length,
            f"sample {sample.key!r} has no {' and no '.join(lacks)}, only "
            f"{', '.join(sample.extensions)}",
        )  # fmt: skip
    return sample


def _refused(stream: TarStream, start: int, length: int, what: str) -> DataError:
    return DataError(f"{stream.url} bytes {start}-{start + length}: {what}. {_WRITE_AGAIN}")
