"""A few more tries for what a store fails to do: they do, now and then, and packing takes hours."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from system.foundation import storage
from system.foundation.errors import StorageError

ATTEMPTS = 6
FIRST_PAUSE_S = 0.5  # twice as long each time, less a random part, so that workers do not march

_jitter = random.SystemRandom()
T = TypeVar("T")


def patiently(url: str, call: Callable[[], T], pause_s: float = FIRST_PAUSE_S) -> T:
    """What the call returns, after up to six attempts where `url` is not on this machine.

    Raises the StorageError of the last one.
    """
    if storage.is_local(url):
        return call()
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except StorageError as problem:
            if attempt == ATTEMPTS - 1:
                raise StorageError(f"{problem} (the last of {ATTEMPTS} attempts)") from problem
            time.sleep(_jitter.uniform(0, pause_s * 2**attempt))
    raise AssertionError("the last attempt returns or raises")
