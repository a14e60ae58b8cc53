"""Which files below a url are meant by a pattern of names, as shards are named everywhere.

find_files("s3://bucket/set", "train-{000..127}.tar")   each of these, or it is said to be gone
find_files("s3://bucket/set", "*/part-*.tar")           what is there, one folder below
"""

import fnmatch
import posixpath
import re
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from functools import cache

import braceexpand

from system.foundation import storage
from system.foundation.errors import DataError

_WILD = re.compile(r"[*?\[]")
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def find_files(url: str, pattern: str) -> dict[str, int]:
    """Bytes of each file that is meant, by its path below `url`, sorted by path.

    Raises DataError where none is there, or where one is not that a brace names.
    """
    found: dict[str, int] = {}
    sizes = cache(storage.list_sizes)  # a folder is listed once, however many braces name
    for each in expanded(pattern):
        if each.startswith("/") or ".." in each.split("/"):
            raise DataError(f"{url}: {each!r} does not lie below this folder. Give its own url.")
        files = dict(_matching(url, each.split("/"), sizes))
        if not files:
            raise _nothing(url, each)
        found |= files
    return {name: found[name] for name in sorted(found)}


def expanded(pattern: str) -> list[str]:
    """The patterns without braces that one with braces stands for. Raises DataError."""
    try:
        return list(braceexpand.braceexpand(pattern))
    except ValueError as problem:
        raise DataError(f"{pattern!r}: its braces do not pair ({problem}).") from problem


def split_url(url: str, pattern: str) -> tuple[str, str]:
    """Folder and pattern; a url that ends in the name of a tar is both, as webdataset has it."""
    if not url.endswith(".tar"):
        return url, pattern
    cut = re.search(r"[*?\[{]", url)
    folder = posixpath.dirname(url[: cut.start()] if cut else url)
    return folder, url[len(folder) :].lstrip("/")


def _matching(
    url: str, parts: list[str], sizes: Callable[[str], Mapping[str, int]]
) -> Iterator[tuple[str, int]]:
    here, below = parts[0], parts[1:]
    if not below:
        there = sizes(url)
        names = [n for n in there if fnmatch.fnmatchcase(n, here)] if _WILD.search(here) else [here]
        yield from ((name, there[name]) for name in names if name in there)
        return
    is_wild = _WILD.search(here) is not None
    for folder in set(storage.list_names(url)) - set(sizes(url)) if is_wild else [here]:
        if not is_wild or fnmatch.fnmatchcase(folder, here):
            for name, size in _matching(storage.join(url, folder), below, sizes):
                yield posixpath.join(folder, name), size


def _nothing(url: str, pattern: str) -> DataError:
    folder = posixpath.dirname(pattern)
    names = storage.list_names(storage.join(url, folder)) if not _WILD.search(folder) else []
    packed = [name for name in names if name.endswith(_COMPRESSED)]
    if packed:
        return DataError(
            f"{url}: no {pattern}, but {packed[0]} and {len(packed) - 1} more compressed tars. "
            "Readers jump to any image, so shards must not be compressed: unpack that layer first."
        )
    there = f"{len(names)} other names, such as {names[0]}" if names else "nothing else either"
    return DataError(
        f"{url}: no {pattern} here, and {there}. Give the folder of the shards, and their names "
        "with `names=` if they are not *.tar."
    )
