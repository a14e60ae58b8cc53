"""Images of an npz file, as ADM's evaluator and most who publish samples lay them out: `arr_0`.

`arr_0` is uint8 N H W 3 (or 1). Grey images stand there with three equal channels, and are shown
with one, of which detectors of colour make three again. The array is never held as a whole: where
the file is stored without compression the images asked for are read where they lie, else the member
is read from its start. A file with moments (`mu`, `sigma`) is a reference, and is refused as
samples: ADM's evaluator would use its moments and never look at its images.

Source: guided-diffusion's evaluator (Dhariwal & Nichol 2021, arXiv 2105.05233), its file format.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import Literal

import numpy as np
import torch
import xxhash
from jaxtyping import UInt8
from torch import Tensor

from system.evaluation.sources.source import Source
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

IMAGES = "arr_0"
MOMENTS = ("mu", "sigma", "mu_s", "sigma_s")
_CHUNK = 2**24  # bytes read at once
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: lengths of its name and its extra field
Stream = Any  # of a member: typed as IO[bytes], which at run time it is not
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, struct.error)


class ArchiveImages(Record):
    """The images of an npz file."""

    kind: Literal["archive"] = "archive"
    url: str
    digest: str  # of shape and pixels, all of them
    count: PositiveInt  # the first so many are meant
    stored: PositiveInt
    height: PositiveInt
    width: PositiveInt
    planes: Literal[1, 3]  # channels as they are stored
    channels: Literal[1, 3]  # and as they are shown: 1 where all three of every image are equal


def archive_images(url: str) -> ArchiveImages:
    """The images of an npz of samples; every pixel is read once, for the digest.

    Raises DataError where the file is damaged or holds no such images, BadInput where it carries
    moments.
    """
    found = [name for name in member_names(url) if name in MOMENTS]
    if found:
        raise BadInput(
            f"{url} was given as samples and holds the moments {', '.join(found)}: it is a "
            "reference. Expected a file of images alone (arr_0). Moments would speak for pixels "
            "that nobody looked at; to compare the reference's own images, save its arr_0 by itself"
        )
    return reference_images(url)


def reference_images(url: str) -> ArchiveImages:
    """The images that lie in a reference's npz beside its moments. Raises DataError."""
    shape = images_shape(url)
    with open_member(url, IMAGES) as file:
        _read_header(file, url)
        digest, highest, is_grey = _look_through(file, shape)
    if highest <= 1:
        raise DataError(
            f"{url}: arr_0 is uint8 and no pixel is above {highest}; expected levels from 0 to "
            "255. Images in [0, 1] were converted before they were multiplied by 255"
        )
    count, height, width, planes = shape
    return ArchiveImages(
        url=storage.absolute(url),
        digest=digest,
        count=count,
        stored=count,
        height=height,
        width=width,
        planes=planes,
        channels=1 if is_grey else planes,
    )


def images_shape(url: str) -> tuple[int, ...]:
    """Count, height, width and channels of the images in an npz, from its header alone.

    Raises DataError where they are no images in 8 bits.
    """
    with open_member(url, IMAGES) as file:
        shape, dtype = _read_header(file, url)
    _check(url, shape, dtype)
    return shape


def checksum(url: str, name: str) -> str:
    """Length and CRC-32 of an array as the file lists them; whoever reads the array checks them."""
    with _opened(url) as (_, archive):
        member = archive.getinfo(f"{name}.npy")
        return f"{member.file_size} {member.CRC:08x}"


def member_names(url: str) -> list[str]:
    """The arrays of an npz file, sorted. Raises DataError for what is no npz file."""
    with _opened(url) as (_, archive):
        return sorted(name.removesuffix(".npy") for name in archive.namelist())


@contextmanager
def open_member(url: str, name: str) -> Iterator[Stream]:
    """The npy stream of one array. Raises DataError where it is absent or turns out damaged."""
    with _opened(url) as (_, archive):
        names = archive.namelist()
        if f"{name}.npy" not in names:
            held = ", ".join(sorted(each.removesuffix(".npy") for each in names)) or "nothing"
            raise DataError(f"{url} holds {held}; expected the array {name}")
        with archive.open(f"{name}.npy") as file:
            yield file


class ArchiveSource(Source):
    """An opened npz file."""

    def __init__(self, record: ArchiveImages) -> None:
        self._record = record
        self._shape = (record.height, record.width, record.planes)
        self._bytes = record.height * record.width * record.planes
        self._start = _start_of_pixels(record)
        self._stream: Stream | None = None  # of a compressed file, and how far it has been read
        self._at = 0

    def images(self, index: range) -> UInt8[Tensor, "N C H W"]:
        """The images of these numbers. Raises DataError where the file is not what it was."""
        assert index.step == 1, f"numbers of images are consecutive, found {index}"
        assert index.stop <= self._record.count, f"found {index} of {self._record.count}"
        if self._start is None:
            content = self._decompressed(index)
        else:
            start = self._start + index.start * self._bytes
            content = storage.read_range(self._record.url, start, len(index) * self._bytes)
        pixels = np.frombuffer(bytearray(content), np.uint8).reshape(len(index), *self._shape)
        shown = pixels[..., : self._record.channels]
        return torch.from_numpy(shown).permute(0, 3, 1, 2).contiguous()

    def _decompressed(self, index: range) -> bytes:
        """Read on to them: compression has no other way. What lies behind is read from the start,
        so that whoever asks in order reads the file once."""
        url, start = self._record.url, index.start * self._bytes
        with _soundly(url):
            if self._stream is None or self._at > start:
                filesystem, path = storage.open_filesystem(url)
                archive = zipfile.ZipFile(filesystem.open(path, "rb"))
                self._stream, self._at = archive.open(f"{IMAGES}.npy"), 0
                _read_header(self._stream, url)
            _skip(self._stream, start - self._at)
            self._at = index.stop * self._bytes
            return _exactly(self._stream, len(index) * self._bytes)


def open_archive(record: ArchiveImages) -> ArchiveSource:
    """The file of a record. Raises DataError where it is another one by now."""
    with open_member(record.url, IMAGES) as file:
        shape, dtype = _read_header(file, record.url)
    expected = (record.stored, record.height, record.width, record.planes)
    if shape != expected or dtype != np.uint8:
        raise DataError(
            f"{record.url}: arr_0 is {dtype} {list(shape)}, and was uint8 {list(expected)} when "
            "its digest was taken. It was written over: measure it again"
        )
    return ArchiveSource(record)


@contextmanager
def _opened(url: str) -> Iterator[tuple[Any, zipfile.ZipFile]]:
    filesystem, path = storage.open_filesystem(url)
    if not storage.exists(url):
        raise DataError(f"{url}: found no file there; expected an npz file")
    with _soundly(url), filesystem.open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        yield file, archive


@contextmanager
def _soundly(url: str) -> Iterator[None]:
    """Name the file in which damage is found."""
    try:
        yield
    except _DAMAGE as problem:
        raise DataError(
            f"{url} is no sound npz file ({type(problem).__name__}: {problem}); expected what "
            "numpy.savez writes. Copy it again"
        ) from problem


def _read_header(file: Stream, url: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an npy stream, which then stands at its data."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise DataError(f"{url}: arr_0 is npy version {version}; expected 1.0 or 2.0")
    shape, is_fortran, dtype = read(file)
    if is_fortran and len(shape) > 1:
        raise DataError(f"{url}: arr_0 is stored column by column; expected C order")
    return tuple(int(each) for each in shape), dtype


def _check(url: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    is_shaped = len(shape) == 4 and shape[3] in (1, 3) and 0 not in shape
    if dtype == np.uint8 and is_shaped:
        return
    advice = "Save the array that the images are in"
    if dtype != np.uint8 and is_shaped:
        advice = "Bring pixels to levels from 0 to 255, round them, and save them as uint8"
    elif len(shape) == 4 and shape[1] in (1, 3):
        advice = "Put the channels last"
    raise DataError(
        f"{url}: arr_0 is {dtype} of shape {list(shape)}; expected uint8 of shape [N, H, W, 3] or "
        f"[N, H, W, 1], N at least 1. {advice}"
    )


def _look_through(file: Stream, shape: tuple[int, ...]) -> tuple[str, int, bool]:
    """The digest of shape and pixels, the highest level, and whether all images are grey; zipfile
    checks the member's checksum."""
    state, highest, is_grey = xxhash.xxh3_128(json.dumps(list(shape)).encode()), 0, True
    count, length = shape[0], int(np.prod(shape[1:]))
    images = max(1, _CHUNK // length)
    for start in range(0, count, images):
        chunk = _exactly(file, min(images, count - start) * length)
        state.update(chunk)
        pixels = np.frombuffer(chunk, np.uint8).reshape(-1, shape[3])
        highest = max(highest, int(pixels.max()))
        is_grey = is_grey and bool((pixels == pixels[:, :1]).all())
    if file.read(1):
        raise zipfile.BadZipFile("arr_0 is longer than its header says")
    return state.hexdigest(), highest, is_grey


def _start_of_pixels(record: ArchiveImages) -> int | None:
    """Where the first pixel lies in the file; None where the member is compressed."""
    with _opened(record.url) as (raw, archive):
        member = archive.getinfo(f"{IMAGES}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            return None
        with archive.open(member) as file:
            _read_header(file, record.url)
            header = file.tell()
        raw.seek(member.header_offset)
        name, extra = _LOCAL_HEADER.unpack(raw.read(_LOCAL_HEADER.size))
        return int(member.header_offset + _LOCAL_HEADER.size + name + extra + header)


def _skip(file: Stream, count: int) -> None:
    while count:
        count -= len(_exactly(file, min(count, _CHUNK)))


def _exactly(file: Stream, count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise EOFError(f"arr_0 ends {count - len(content)} bytes early")
    return content
