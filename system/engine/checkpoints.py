"""The checkpoints of a run: written so that a torn one is never taken for a whole one.

Every worker writes its files, and last a marker with the size and digest of each. A checkpoint is
committed once the markers of all its workers are there, and whole while every file is what its
marker says. Nothing here depends on the order in which an object store shows its files.

    runs/digits/checkpoints/000000025600-1/
        averaged.safetensors  state.json  engine/…  critic/…
        COMMITTED.0-of-2.json  COMMITTED.1-of-2.json
"""

import json
import re
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any

import safetensors.torch
import xxhash
from safetensors import SafetensorError
from torch import Tensor

from system.engine.released import is_released
from system.engine.released import read_config
from system.engine.released import read_released
from system.foundation import storage
from system.foundation.config import recipe_from_mapping
from system.foundation.errors import CheckpointError
from system.foundation.errors import RecipeError
from system.foundation.errors import StorageError
from system.foundation.recipe import Recipe

AVERAGED = "averaged.safetensors"
STATE = "state.json"
CHUNK_BYTES = 8 * 2**20

_NAME = re.compile(r"(\d{12,})-(\d+)")
_MARKER = re.compile(r"COMMITTED\.(\d+)-of-(\d+)\.json")


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """One saved state. They sort by age."""

    images_seen: int
    attempt: int
    url: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A checkpoint that could not be used, and why."""

    checkpoint: Checkpoint
    reason: str
    was_committed: bool  # and so may have been the state of the run


class NotCommitted(CheckpointError):
    """Its upload was never finished: it was never a state to go on from."""


Taint = Callable[[Checkpoint], str | None]


def untainted(checkpoint: Checkpoint) -> None:
    """Of every checkpoint: nothing speaks against it."""


class CheckpointStore:
    """The checkpoints below one url, oldest first.

    `passed_over` lists what the last call of `latest` found newer than its answer, and why it was
    of no use.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.passed_over: list[PassedOver] = []

    def place(self, images_seen: int, attempt: int) -> Checkpoint:
        """Where a checkpoint belongs. Attempts never share one, so their files never mix."""
        return Checkpoint(
            images_seen, attempt, storage.join(self.url, name_of(images_seen, attempt))
        )

    def all(self) -> list[Checkpoint]:
        """The committed ones, their files not looked into."""
        return [one for one in self._found() if flaw(one.url, verify=False) is None]

    def latest(self, *, verify: bool = True, taint: Taint = untainted) -> Checkpoint | None:
        """The newest that is committed and, with `verify`, whole; None if there is none.

        `taint` says why one is not to be gone on from, though it is whole.
        """
        self.passed_over = []
        for checkpoint in reversed(self._found()):
            if reason := taint(checkpoint):
                self.passed_over.append(PassedOver(checkpoint, reason, was_committed=False))
                continue
            try:
                _examine(checkpoint.url, verify=verify)
            except CheckpointError as error:
                committed = not isinstance(error, NotCommitted)
                self.passed_over.append(PassedOver(checkpoint, str(error), committed))
            else:
                return checkpoint
        return None

    def newest_or_refuse(self, taint: Taint = untainted) -> Checkpoint | None:
        """The newest whole one to go on from; None only where none was ever committed.

        Raises CheckpointError where all that were committed are damaged: beginning anew then is
        for a person to decide.
        """
        newest = self.latest(taint=taint)
        if newest is None and any(one.was_committed for one in self.passed_over):
            listed = "".join(f"\n  {one.checkpoint.url}: {one.reason}" for one in self.passed_over)
            raise CheckpointError(
                f"the run has checkpoints in {self.url}, but none is whole:{listed}\n"
                "Repair one from a copy; or, to begin anew, remove them or give another run.name"
            )
        return newest

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> Path:
        """A local folder with its files: `folder`, or its own if it lies on this machine."""
        if storage.is_local(checkpoint.url):
            return storage.local_path(checkpoint.url)
        for name in _files(_read_markers(checkpoint.url)):
            storage.copy_in(storage.join(checkpoint.url, name), folder / name)
        return folder

    def prune(
        self, kept: Callable[[Sequence[Checkpoint]], Collection[Checkpoint]]
    ) -> list[Checkpoint]:
        """Remove what is older than the newest whole one, but for those of the whole ones, oldest
        first, that `kept` chooses; return what was removed.

        One that lacks a file or a byte never costs a whole one its place. Digests are not read:
        that would take as long as the checkpoints are large.
        """
        committed = self.all()
        whole = [one for one in committed if _is_complete(one.url)]
        stays = {*kept(whole)} if whole else set()
        old = [one for one in committed if whole and one < whole[-1] and one not in stays]
        for checkpoint in old:
            # Markers first: what is half removed must not look committed.
            for name in storage.list_names(checkpoint.url):
                if _MARKER.fullmatch(name):
                    storage.remove(storage.join(checkpoint.url, name))
            storage.remove(checkpoint.url)
        return old

    def _found(self) -> list[Checkpoint]:
        matches = (_NAME.fullmatch(name) for name in storage.list_names(self.url))
        return sorted(self.place(int(match[1]), int(match[2])) for match in matches if match)


def name_of(images_seen: int, attempt: int) -> str:
    """The folder name of a checkpoint."""
    return f"{images_seen:012d}-{attempt}"


def upload(
    folder: Path, url: str, rank: int, size: int, *, names: Iterable[str] | None = None
) -> None:
    """Copy one worker's files to the checkpoint's url; its commit marker goes last.

    `names` are those that were written, by default all that are there: whoever wrote them knows
    better, should the folder be going. Raises OSError where one of them is missing.
    """
    files: dict[str, dict[str, Any]] = {}
    for name in sorted(_names_in(folder) if names is None else names):
        path = folder / name
        files[name] = {"bytes": path.stat().st_size, "xxh3": _digest(str(path))}
        storage.copy_out(path, storage.join(url, name))
    marker = json.dumps(files, indent=1).encode()
    storage.write_bytes(storage.join(url, f"COMMITTED.{rank}-of-{size}.json"), marker)


def _names_in(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in paths]


def flaw(url: str, *, verify: bool = True) -> str | None:
    """Why the checkpoint at `url` cannot be used; None if it can. `verify` reads every file."""
    try:
        if is_released(url):
            read_released(url)
        else:
            _examine(url, verify=verify)
    except CheckpointError as error:
        return str(error)
    return None


def further_average(decay: float) -> str:
    """The file of the weights averaged by one of the recipe's further decays."""
    return f"averaged-{decay!r}.safetensors"


def read_averaged(
    checkpoint_url: str, *, decay: float | None = None
) -> tuple[Recipe, dict[str, Tensor], int]:
    """Recipe, averaged weights (float32, by name) and images seen of a committed checkpoint.

    `decay` chooses one of the averages that it holds; None stands for the recipe's first. A folder
    of released weights, which holds one, is as good. Raises CheckpointError where it is absent, not
    committed, or damaged, or holds no such average.
    """
    if is_released(checkpoint_url):
        recipe, weights, images_seen = read_released(checkpoint_url)
        _average_of(recipe, decay, held=1)
        return recipe, weights, images_seen
    if not storage.exists(checkpoint_url):
        raise CheckpointError(f"no checkpoint at {checkpoint_url}: there is no such folder")
    try:
        files = _files(_read_markers(checkpoint_url))
        _check_listed(checkpoint_url, STATE, files)
        state = read_state(checkpoint_url)
        recipe = recipe_from_mapping(state["recipe"])
        averaged = _average_of(recipe, decay, held=len(recipe.engine.decays))
        _check_listed(checkpoint_url, averaged, files)
        weights = safetensors.torch.load(storage.read_bytes(storage.join(checkpoint_url, averaged)))
        return recipe, weights, int(state["images_seen"])
    except (CheckpointError, SafetensorError, RecipeError, KeyError) as error:
        raise CheckpointError(
            f"checkpoint {checkpoint_url} cannot be used: {error}. Choose another one of the run"
        ) from error


def _average_of(recipe: Recipe, decay: float | None, *, held: int) -> str:
    """The file of the average with this decay. Raises CheckpointError where there is none."""
    decays = recipe.engine.decays[:held]
    if decay is None or decay == decays[0]:
        return AVERAGED
    if decay not in decays:
        raise CheckpointError(
            f"it holds no average of decay {decay:g}; expected one of "
            f"{', '.join(f'{one:g}' for one in decays)}. A run keeps further ones where "
            "engine.further_decays lists them"
        )
    return further_average(decay)


def read_state(url: str) -> dict[str, Any]:
    """The numbers in a checkpoint's state.json, or in the config.json of released weights.

    Raises CheckpointError if they cannot be read.
    """
    if is_released(url):
        return read_config(url)
    try:
        state = json.loads(storage.read_text(storage.join(url, STATE)))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{STATE} of {url} cannot be read: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{STATE} of {url} holds no mapping")
    return state


def _examine(url: str, *, verify: bool) -> None:
    """Raise CheckpointError, or NotCommitted, if the checkpoint at `url` cannot be used."""
    markers = _read_markers(url)
    for name, written in _files(markers).items() if verify else ():
        _check(storage.join(url, name), name, written)


def _read_markers(url: str) -> list[dict[str, Any]]:
    """The markers of all workers. Raises CheckpointError if one is missing or unreadable."""
    found = {name: _MARKER.fullmatch(name) for name in storage.list_names(url)}
    markers = {name: match for name, match in found.items() if match}
    if not markers:
        raise NotCommitted("not committed: no worker has written its marker")
    sizes = {int(match[2]) for match in markers.values()}
    ranks = {int(match[1]) for match in markers.values()}
    if len(sizes) > 1:
        raise CheckpointError(f"has markers of groups of {sorted(sizes)} workers")
    missing = sorted(set(range(sizes.pop())) - ranks)
    if missing:
        raise NotCommitted(f"not committed: the markers of workers {missing} are missing")
    return [_read_marker(storage.join(url, name), name) for name in sorted(markers)]


def _read_marker(url: str, name: str) -> dict[str, Any]:
    try:
        files = json.loads(storage.read_bytes(url).decode())
        if not isinstance(files, dict):
            raise TypeError(f"it holds no JSON object but {files!r:.60}")
        sound = all(_is_inside(file) and {"bytes", "xxh3"} <= files[file].keys() for file in files)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{name} is damaged: {error}") from error
    except StorageError as error:
        # A store that fails now and then says nothing about the checkpoint; a folder does.
        if not isinstance(error.__cause__, IsADirectoryError):
            raise
        raise CheckpointError(f"{name} is damaged: it is a folder") from error
    if not sound:
        raise CheckpointError(f"{name} is damaged: it names files outside of the checkpoint")
    return files


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _files(markers: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: written for marker in markers for name, written in marker.items()}


def _is_complete(url: str) -> bool:
    """Whether every file of a committed checkpoint is there, in its full length."""
    try:
        for name, written in _files(_read_markers(url)).items():
            _check_size(storage.join(url, name), name, written)
    except CheckpointError:
        return False
    return True


def _check_listed(url: str, name: str, files: dict[str, dict[str, Any]]) -> None:
    if name not in files:
        raise CheckpointError(f"{name} is in no commit marker")
    _check(storage.join(url, name), name, files[name])


def _check(url: str, name: str, written: dict[str, Any]) -> None:
    """Raise CheckpointError if a file is not what its marker says."""
    _check_size(url, name, written)
    if _digest(url) != written["xxh3"]:
        raise CheckpointError(f"{name} is damaged: its digest is not that of its marker")


def _check_size(url: str, name: str, written: dict[str, Any]) -> None:
    try:
        found = storage.size(url)
    except FileNotFoundError as error:
        raise CheckpointError(f"{name} is missing") from error
    if found != written["bytes"]:
        raise CheckpointError(f"{name} has {found} bytes, expected {written['bytes']}")


def _digest(url: str) -> str:
    digest = xxhash.xxh3_128()
    for chunk in _chunks(url):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(url: str) -> Iterator[bytes]:
    total = storage.size(url)
    for start in range(0, total, CHUNK_BYTES):
        yield storage.read_range(url, start, min(CHUNK_BYTES, total - start))
