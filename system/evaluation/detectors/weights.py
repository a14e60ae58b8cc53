"""Weights that others published: which file is meant, and proof that it is the one at hand.

Nothing here looks for a file by itself: it reads the path or url that it was given, and returns
what has the right length and digest.
"""

import hashlib

from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.settings.record import Record


class PublishedFile(Record):
    """A file as its origin describes it. A length or digest that nobody vouched for is None."""

    names: tuple[str, ...]  # the same bytes are published under each
    bytes: int | None
    sha256: str | None
    licence: str
    origin: tuple[str, ...]

    @property
    def described(self) -> str:
        """What to look for and where, in words."""
        size = "" if self.bytes is None else f", {self.bytes:,} bytes"
        digest = "" if self.sha256 is None else f", sha256 {self.sha256}"
        return f"{' or '.join(self.names)}{size}{digest}, from {' or '.join(self.origin)}"


INCEPTION = PublishedFile(
    names=(
        "pt_inception-2015-12-05-6726825d.pth",
        "weights-inception-2015-12-05-6726825d.pth",
    ),
    bytes=95_628_359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    licence="Apache-2.0",
    origin=(
        "github.com/mseitzer/pytorch-fid, release fid_weights",
        "github.com/toshas/torch-fidelity, release v0.2.0",
    ),
)


def read_published(url: str, file: PublishedFile, expected: str | None) -> tuple[bytes, str]:
    """The bytes at a path or url, and their sha256, which is `expected` (None takes any).

    Raises BadInput where there is no file, or other bytes than the ones expected.
    """
    if not storage.exists(url):
        raise BadInput(
            f"{url}: no file; expected {file.described}. Put it there, or give the path or url of "
            "where it lies"
        )
    if storage.is_local(url) and storage.local_path(url).is_dir():
        raise BadInput(f"{url}: a folder; expected the path of a file in it, {file.described}")
    if expected is not None and expected == file.sha256 and storage.is_local(url):
        _check_size(url, file, storage.size(url))  # a file cut short need not be read
    content = storage.read_bytes(url)
    digest = hashlib.sha256(content).hexdigest()
    if expected is not None and digest != expected:
        if expected == file.sha256:
            _check_size(url, file, len(content))
        raise BadInput(
            f"{url}: found a file with sha256 {digest}, expected {expected}: it is damaged or "
            f"another one. {_cure(file)}"
        )
    return content, digest


def _check_size(url: str, file: PublishedFile, found: int) -> None:
    if file.bytes is not None and found != file.bytes:
        raise BadInput(
            f"{url}: found a file of {found:,} bytes, expected {file.bytes:,}: it is cut short or "
            f"another one. {_cure(file)}"
        )


def _cure(file: PublishedFile) -> str:
    return f"Fetch it again: {file.described}"
