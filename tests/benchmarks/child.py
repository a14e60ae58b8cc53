"""Measures in a fresh process, on as many cores as are wanted, so that nothing lingers."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from typing import TypeVar

T = TypeVar("T")


def in_child(work: Callable[..., T], *arguments: Any, cores: int | None = None) -> T:
    """What `work` returns in a spawned process and its children, on that many cores or on all."""
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=_keep_to, initargs=(cores,)
    ) as pool:
        return pool.submit(work, *arguments).result()


def _keep_to(cores: int | None) -> None:
    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
