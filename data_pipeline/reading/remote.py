"""Requests to storage across a network: concurrent, timed, repeated, hedged, counted.

All waiting is done on fsspec's own event loop, where a request that takes too long is cancelled
rather than left behind.
"""

import asyncio
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
from fsspec.asyn import get_loop

from system.foundation import storage
from system.foundation.errors import DataError
from system.foundation.errors import StorageError
from system.foundation.errors import TrainingSystemError
from system.foundation.settings.data import Fetching
from system.foundation.wording import counted

LONGEST_PAUSE_S = 10.0
COPY_AGAIN = "Copy it again from where it was packed, or pack again with the same options."
_REFUSED = (401, 403)  # answers that no repetition changes
_SECRET = re.compile(r"(?i)([?&][\w-]*(?:sig|key|token|credential|secret)[\w-]*=)[^&\s'\"]+")
_jitter = random.SystemRandom()  # a forked generator would make all readers come back at once


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes start … stop-1 of a file: what one request asks for."""

    url: str
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{without_credentials(self.url)} bytes {self.start}-{self.stop}"


class Remote:
    """Reads spans of files. Counts into `counters`; `on_stage` is called on another thread too."""

    def __init__(
        self, settings: Fetching, counters: Counter[str], on_stage: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._on_stage = on_stage
        self._filesystems: dict[tuple[int, str], Any] = {}

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """The bytes of each span. Raises DataError or StorageError, naming url and bytes."""
        more = f" and {len(spans) - 1} more ranges" if len(spans) > 1 else ""
        self._on_stage(f"reading {spans[0]}{more}, attempt 1 of {self._settings.attempts}")
        for span in spans:
            self._filesystem(span.url)  # made here: what this waits for must not hold up the loop
        answers = asyncio.run_coroutine_threadsafe(self._gather(spans), get_loop())
        try:
            return answers.result()
        except BaseException:
            answers.cancel()
            raise

    def close(self) -> None:
        """Forget the connections."""
        self._filesystems.clear()

    async def _gather(self, spans: Sequence[Span]) -> list[bytes]:
        slots = asyncio.Semaphore(self._settings.concurrency)
        tasks = [asyncio.ensure_future(self._persist(span, slots)) for span in spans]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _persist(self, span: Span, slots: asyncio.Semaphore) -> bytes:
        """The bytes of one span, in as many attempts as are allowed."""
        settings = self._settings
        cause = ""
        for attempt in range(1, settings.attempts + 1):
            if attempt > 1:
                self._counters["retries"] += 1
                self._on_stage(
                    f"reading {span}, attempt {attempt} of {settings.attempts} after {cause}"
                )
                longest = min(settings.backoff_s * 2 ** (attempt - 2), LONGEST_PAUSE_S)
                await asyncio.sleep(_jitter.uniform(0, longest))
            async with slots:
                try:
                    return await self._attempt(span, slots)
                except FileNotFoundError as problem:
                    raise lost(span, problem) from None
                except Exception as problem:  # each store has errors of its own
                    if _is_refusal(problem):
                        raise lost(span, problem) from None
                    cause = _describe(problem)
        tried = counted(settings.attempts, "attempt")
        raise StorageError(
            f"cannot read {span}: {tried} failed, the last with {cause}. See "
            "that the storage answers and is not throttling, lower data.fetching.concurrency, or "
            f"raise data.fetching.timeout_s ({settings.timeout_s}) or data.fetching.attempts."
        )

    async def _attempt(self, span: Span, slots: asyncio.Semaphore) -> bytes:
        """One request, and a second one if the first is slow and there is room for it."""
        settings = self._settings
        requests = [self._send(span)]
        try:
            async with asyncio.timeout(settings.timeout_s) as limit:
                if settings.hedge_after_s is not None:
                    await asyncio.wait(requests, timeout=settings.hedge_after_s)
                    if not requests[0].done() and not slots.locked():
                        self._counters["hedges"] += 1
                        requests.append(self._send(span))
                won = await _first_answer(requests)
                data = won.result()
        except TimeoutError as problem:
            if not limit.expired():
                raise
            self._counters["timeouts"] += 1
            raise TimeoutError(f"no answer within {settings.timeout_s} s") from problem
        finally:
            for request in requests:
                request.cancel()
        self._counters["hedges_won"] += won is not requests[0]
        self._counters["bytes"] += len(data)
        return data

    def _send(self, span: Span) -> asyncio.Task[bytes]:
        self._counters["requests"] += 1
        request = asyncio.ensure_future(_request(*self._filesystem(span.url), span))
        request.add_done_callback(_hear)
        return request

    def _filesystem(self, url: str) -> tuple[Any, str]:
        """The filesystem of this process behind a url, and the path in it."""
        place = (os.getpid(), url.rpartition("/")[0])
        if place not in self._filesystems:
            try:
                filesystem, _ = storage.open_filesystem(url, _options(url, self._settings))
            except TrainingSystemError:
                raise
            except Exception as problem:  # each store has errors of its own
                shown = without_credentials(url)
                raise StorageError(f"cannot open {shown}: {_describe(problem)}") from None
            if hasattr(filesystem, "retries"):
                filesystem.retries = 1  # the attempts that count are ours
            self._filesystems[place] = filesystem
        filesystem = self._filesystems[place]
        return filesystem, filesystem._strip_protocol(url)


def without_credentials(text: str) -> str:
    """A url or a message without the passwords and signatures that urls may carry."""
    text = re.sub(r"(?<=://)[^/@\s]+@", "***@", text)
    return _SECRET.sub(r"\1***", text)


async def _request(filesystem: Any, path: str, span: Span) -> bytes:
    if filesystem.async_impl:
        data = await filesystem._cat_file(path, start=span.start, end=span.stop)
    else:
        data = await asyncio.to_thread(filesystem.cat_file, path, span.start, span.stop)
    if len(data) != span.stop - span.start:
        raise EOFError(f"{len(data)} of {span.stop - span.start} bytes in the answer")
    return bytes(data)


def _hear(request: asyncio.Task[bytes]) -> None:
    """Take note of how a request ended, also of one that nobody waits for any more."""
    if not request.cancelled():
        request.exception()


async def _first_answer(requests: Sequence[asyncio.Task[bytes]]) -> asyncio.Task[bytes]:
    """The first request that succeeds; if none does, the last that failed."""
    pending = set(requests)
    while True:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for request in done:
            if request.exception() is None:
                return request
        if not pending:
            return done.pop()


def _options(url: str, settings: Fetching) -> dict[str, Any]:
    """What a filesystem is told so that it neither waits nor repeats by itself for long."""
    options: dict[str, Any] = {"skip_instance_cache": True}
    protocol = url.partition("://")[0]
    if protocol in ("s3", "s3a"):
        given = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
        options["config_kwargs"] = given | {
            "connect_timeout": settings.timeout_s,
            "read_timeout": settings.timeout_s,
            "max_pool_connections": 2 * settings.concurrency,  # each request and its hedge
            "retries": {"total_max_attempts": 1},
        }
    return options


def _is_refusal(problem: Exception) -> bool:
    answer = problem.status if hasattr(problem, "status") else getattr(problem, "code", None)
    return (
        isinstance(problem, PermissionError)
        or answer in _REFUSED
        or str(problem).startswith("Forbidden")  # gcsfs has no error of its own for it
    )


def _describe(problem: Exception) -> str:
    text = without_credentials(str(problem)).rstrip(".")[:300]
    return f"{type(problem).__name__}: {text}"


def lost(span: Span, problem: Exception) -> DataError:
    """The error for a file that is not there, or may not be read."""
    url = without_credentials(span.url)
    if isinstance(problem, FileNotFoundError):
        return DataError(
            f"{url}: this shard is gone, though it was there when its manifest was opened (bytes "
            f"{span.start}-{span.stop} were wanted). {COPY_AGAIN}"
        )
    return DataError(
        f"{span} may not be read ({_describe(problem)}). Give this process credentials that may "
        "read it, or correct the permissions of the storage."
    )
