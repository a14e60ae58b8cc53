"""A tar shard as it grows, indexed while it is written.

The bytes are those of `webdataset.TarWriter(user="", group="", encoder=False, mtime=0)`, which
takes five times as long: headers are made from a template where names are short and plain, and an
image is never copied here, only listed among the parts of the file.
"""

import tarfile
from dataclasses import dataclass
from dataclasses import field

import numpy as np
import xxhash

from data_pipeline.shards.columns import ShardIndex

BLOCK = tarfile.BLOCKSIZE
MODE = 0o444
LABEL = "cls"
_SHORT = 100  # bytes of a name that fits into the old header
_OLDEST_LIMIT = 8**11  # bytes of a member that fit into it
_PADDING = bytes(tarfile.RECORDSIZE)
_BEFORE_SIZE = b"%07o\0%07o\0%07o\0" % (MODE, 0, 0)
_BEFORE_SUM = b"%011o\0" % 0  # the time
_AFTER_SUM = b"0" + bytes(100) + b"ustar\x0000"
_REST = bytes(BLOCK - 148 - 8 - len(_AFTER_SUM))
_FIXED_SUM = sum(_BEFORE_SIZE + _BEFORE_SUM + b" " * 8 + _AFTER_SUM)


@dataclass(slots=True)
class TarShard:
    """Samples of one image and one label each; `parts` are the bytes of the file so far."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0  # bytes so far
    _keys: list[str] = field(default_factory=list)
    _labels: list[int] = field(default_factory=list)
    _places: list[tuple[int, int]] = field(default_factory=list)
    _digests: list[int] = field(default_factory=list)

    def add(self, key: str, extension: str, data: bytes, label: int) -> None:
        """One sample; its members are in the order of their extensions."""
        if extension < LABEL:
            start = self._member(f"{key}.{extension}", data)
            self._member(f"{key}.{LABEL}", b"%d" % label)
        else:
            self._member(f"{key}.{LABEL}", b"%d" % label)
            start = self._member(f"{key}.{extension}", data)
        self._keys.append(key)
        self._labels.append(label)
        self._places.append((start, len(data)))
        self._digests.append(xxhash.xxh3_64_intdigest(data))

    def finish(self) -> str:
        """Write the mark of the end. Returns the digest of the file, xxh3-128 in hexadecimal."""
        self._append(bytes(2 * BLOCK))
        self._append(_PADDING[: -self.size % tarfile.RECORDSIZE])
        state = xxhash.xxh3_128()
        for part in self.parts:
            state.update(part)
        return state.hexdigest()

    def index(self) -> ShardIndex:
        """The rows of the samples so far."""
        places = np.array(self._places, np.int64).reshape(-1, 2)
        return ShardIndex(
            keys=tuple(self._keys),
            labels=np.array(self._labels, np.int32),
            offsets=places[:, 0].copy(),
            lengths=places[:, 1].copy(),
            digests=np.array(self._digests, np.uint64),
        )

    def _member(self, name: str, data: bytes) -> int:
        """A header and its content. Returns where the content starts."""
        self._append(header(name, len(data)))
        start = self.size
        self._append(data)
        self._append(_PADDING[: -len(data) % BLOCK])
        return start

    def _append(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)


def header(name: str, size: int) -> bytes:
    """The header of a regular file; with an extended one before it where the name needs that."""
    if len(name) >= _SHORT or not name.isascii() or size >= _OLDEST_LIMIT:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, MODE
        return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    start = name.encode().ljust(_SHORT, b"\0")
    digits = b"%011o\0" % size
    checksum = _FIXED_SUM + sum(start) + sum(digits)
    return b"".join(
        (start, _BEFORE_SIZE, digits, _BEFORE_SUM, b"%06o\0 " % checksum, _AFTER_SUM, _REST)
    )
