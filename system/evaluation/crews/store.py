"""Units of work on disk: one file each, whole and sound or as good as absent.

    eval/units/<key of the request>/000000256-000000512.safetensors

A unit is written once. Whoever computes it again has the same bits; where that is not so, some
machine has computed wrongly, and the crew says so. The first one is kept.
"""

import json
import logging
import random
import re
import time
from collections.abc import Mapping
from typing import Literal

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save
from torch import Tensor

from system.foundation import storage
from system.foundation.errors import StorageError

Kept = Literal["written", "same", "other"]

TRIES = 20  # to write a unit into a folder that others remove
PAUSE = 0.005  # seconds; the longest after the first of them, growing with each

log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{9,})-(\d{9,})\.safetensors")
_ABOUT = "unit"  # one key of metadata: with two, their order in the file would be anyone's guess


class UnitStore:
    """The finished units of one request, below one url."""

    def __init__(self, url: str) -> None:
        self.url = url

    def finished(self) -> list[range]:
        """The units that are there and sound, by their first image; damaged ones are removed."""
        found = (_NAME.fullmatch(name) for name in storage.list_names(self.url))
        units = [range(int(match[1]), int(match[2])) for match in found if match]
        return [unit for unit in units if self.get(unit) is not None]

    def get(self, unit: range) -> dict[str, Tensor] | None:
        """The arrays of a unit by name, or None. A damaged one is removed with a warning."""
        url = self.place(unit)
        try:
            content = storage.read_bytes(url)
        except FileNotFoundError:
            return None
        try:
            arrays = load(content)
            expected = _about(content)
        except (SafetensorError, ValueError, KeyError) as problem:
            self._damaged(unit, f"{type(problem).__name__}: {problem}")
            return None
        if expected != [unit.start, unit.stop, _digest(arrays)]:
            self._damaged(unit, f"its content is not that of {expected}")
            return None
        return arrays

    def put(self, unit: range, arrays: Mapping[str, Tensor]) -> Kept:
        """Keep the arrays of a unit unless they are there: `written`, `same` or `other`."""
        about = json.dumps([unit.start, unit.stop, _digest(arrays)])
        content = save({name: arrays[name].contiguous() for name in arrays}, {_ABOUT: about})
        for attempt in range(1, TRIES + 1):
            try:
                storage.write_new(self.place(unit), content)
                return "written"
            except FileExistsError:  # or was just now, and is damaged or gone
                there = self.get(unit)
                if there is not None:
                    return "same" if _digest(there) == _digest(arrays) else "other"
            except FileNotFoundError:  # another program has the same result, and removes the folder
                time.sleep(random.uniform(0, PAUSE * attempt))  # noqa: S311 - no secret
        raise StorageError(
            f"{self.place(unit)} could not be written {TRIES} times, because others remove what is "
            "there. Do many programs measure the same in this folder?"
        )

    def place(self, unit: range) -> str:
        """The url of a unit's file."""
        return storage.join(self.url, f"{unit.start:09d}-{unit.stop:09d}.safetensors")

    def forget(self) -> None:
        """Remove all units, once their result is written; those of a program that writes here just
        now may stay."""
        try:
            storage.remove(self.url)
        except StorageError as problem:
            log.warning("finished units stay in %s: %s", self.url, problem)

    def _damaged(self, unit: range, reason: str) -> None:
        log.warning("%s is damaged (%s): it is computed again", self.place(unit), reason)
        storage.remove(self.place(unit))


def _about(content: bytes) -> list[object]:
    """What a unit's file says of itself: first image, end, digest."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    about: list[object] = json.loads(header["__metadata__"][_ABOUT])
    return about


def _digest(arrays: Mapping[str, Tensor]) -> str:
    state = xxhash.xxh3_128()
    for name in sorted(arrays):
        array = arrays[name].contiguous()
        state.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        state.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
