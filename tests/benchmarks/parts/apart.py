"""Sides of a comparison as their users have them: each in a process and an environment of its own.

Two in one process share its heap, and what one has left there costs the other page faults. They are
asked in turn, so that no two compute at the same time.
"""

import multiprocessing
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from contextlib import ExitStack
from contextlib import contextmanager
from typing import Any
from typing import Concatenate
from typing import ParamSpec
from typing import TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_made: list[Any] = []  # in a side's process: what was made there


class Apart:
    """What was made in another process, to be asked."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def ask(self, work: Callable[Concatenate[Any, P], T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` returns there, given what was made and the arguments."""
        return self._pool.submit(_ask, work, *given, **named).result()


@contextmanager
def apart(
    make: Callable[P, AbstractContextManager[object]],
    environment: Mapping[str, str],
    *given: P.args,
    **named: P.kwargs,
) -> Iterator[Apart]:
    """A fresh process with this in its environment, and in it what `make` makes."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        with _in_environment(environment):  # the process starts with the first question
            pool.submit(_make, make, *given, **named).result()
        yield Apart(pool)
        pool.submit(_leave).result()


@contextmanager
def _in_environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _make(make: Callable[..., AbstractContextManager[object]], *given: Any, **named: Any) -> None:
    stack = ExitStack()
    _made[:] = [stack.enter_context(make(*given, **named)), stack]


def _ask(work: Callable[..., T], *given: Any, **named: Any) -> T:
    return work(_made[0], *given, **named)


def _leave() -> None:
    _made[1].close()
