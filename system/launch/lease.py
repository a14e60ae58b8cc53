"""A lease on a run, kept in the run's own storage: one driver also where nothing can be locked.

    with lease("s3://bucket/runs/digits") as held:
        ...
        held.check()  # raises once the run is no longer ours

The leases of a run are numbered files that can be created but never replaced by another program:
whoever creates the highest number holds the run. The holder writes its own file anew every few
seconds. Another driver watches that file: if it changes, the run is driven, and the driver is
refused; if it stays the same for `expire_s`, the holder is gone, and the next number may be taken.
A holder that cannot write for `hold_s`, which is shorter, lets go by itself.

No two clocks are ever compared, only how long something took on one machine, so no jump of a clock
makes two holders. What remains is a program that is suspended between its last look and the
taking: the other of the two sees the higher number at its next renewal, and stops.

    runs/digits/lease/000003.json
"""

import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from system.foundation import storage
from system.foundation.errors import ClusterError
from system.foundation.errors import StorageError

FOLDER = "lease"
SUFFIX = ".json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things last. A store that is down for less than `hold_s` costs nobody the run."""

    renew_s: float = 10.0
    hold_s: float = 90.0
    expire_s: float = 120.0
    settle_s: float = 1.0  # until a store that knows no "only if absent" shows who wrote last


TERMS = Terms()


@dataclass(frozen=True, slots=True)
class _Seen:
    """The newest lease of a run, as it was found."""

    number: int
    content: bytes

    @property
    def says(self) -> dict[str, Any]:
        try:
            found = json.loads(self.content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def is_free(self) -> bool:
        """Whether its holder has given it back, or was a process of this machine that is dead."""
        says = self.says
        if says.get("released") is True:
            return True
        return says.get("machine") == _machine() and not _lives(says.get("pid"), says.get("born"))


class Held:
    """A lease that this process holds; a thread renews it."""

    def __init__(self, url: str, number: int, terms: Terms) -> None:
        self._url = url
        self._number = number
        self._terms = terms
        self._beat = 0
        self._nonce = uuid.uuid4().hex
        self._renewed = _now()
        self._lost_to: str | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def check(self) -> None:
        """Raise ClusterError once the run is another's, or may be."""
        if self._lost_to is not None:
            raise ClusterError(
                f"the run in {self._url} was taken over by {self._lost_to}; this driver stops. Its "
                "checkpoints stay as they are."
            )
        silent = _now() - self._renewed
        if silent > self._terms.hold_s:
            raise ClusterError(
                f"the lease on the run in {self._url} could not be renewed for {silent:.0f} s "
                f"(at most {self._terms.hold_s:g} s), so that another driver may take the run; "
                "this one stops. Look at the storage; the same command goes on."
            )

    def take(self) -> None:
        """Create the lease and begin to renew it. Raises ClusterError if another was faster."""
        place = _place(self._url, self._number)
        self._renewed = _now()
        try:
            storage.write_new(place, self._content())
        except FileExistsError as error:
            raise _driven(self._url, _newest(self._url)) from error
        if not storage.is_local(place):
            time.sleep(self._terms.settle_s)
            seen = _newest(self._url)
            if seen is None or seen.number != self._number or seen.says.get("nonce") != self._nonce:
                raise _driven(self._url, seen)
        self._thread.start()
        self._remove_older()

    def release(self) -> None:
        """Give it back: the next driver need not wait."""
        self._done.set()
        self._thread.join(self._terms.renew_s)
        with suppress(OSError, StorageError):
            if self._lost_to is None:
                storage.write_bytes(_place(self._url, self._number), self._content(released=True))

    def _keep(self) -> None:
        while not self._done.wait(self._terms.renew_s):
            began = _now()
            try:
                seen = _newest(self._url)
                if seen is not None and seen.number > self._number:
                    self._lost_to = _who(seen)
                    return
                self._beat += 1
                storage.write_bytes(_place(self._url, self._number), self._content())
                self._renewed = began
            except (OSError, StorageError) as error:
                log.warning("the lease on %s could not be renewed: %s", self._url, error)

    def _content(self, *, released: bool = False) -> bytes:
        says = {
            "pid": os.getpid(),
            "host": platform.node(),
            "machine": _machine(),
            "born": _born(os.getpid()),
            "nonce": self._nonce,
            "beat": self._beat,
            "released": released,
        }
        return json.dumps(says).encode()

    def _remove_older(self) -> None:
        """The newest one stays for ever: its number must not be given twice."""
        with suppress(OSError, StorageError):
            for number in _numbers(self._url):
                if number < self._number:
                    storage.remove(_place(self._url, number))


@contextmanager
def lease(url: str, terms: Terms = TERMS) -> Iterator[Held]:
    """Hold the run at `url`. Raises ClusterError, naming the holder, if another driver does.

    Waits up to `expire_s` where a driver has ended without a word on another machine.
    """
    seen = _newest(url)
    if seen is not None and not seen.is_free:
        print(
            f"the run in {url} was driven by {_who(seen)}, which has not said that it ended; "
            f"watching for up to {terms.expire_s:g} s whether it still is",
            flush=True,
        )
        seen = _watch(url, seen, terms.expire_s, terms)
    held = Held(url, seen.number + 1 if seen else 1, terms)
    held.take()
    try:
        yield held
    finally:
        held.release()


def check_not_leased(url: str, terms: Terms = TERMS) -> None:
    """Raise ClusterError if a driver of this run is seen alive; nothing is written."""
    seen = _newest(url)
    if seen is not None and not seen.is_free:
        _watch(url, seen, 1.5 * terms.renew_s, terms)


def _watch(url: str, seen: _Seen, seconds: float, terms: Terms) -> _Seen | None:
    """The newest lease, once it stayed the same for so long or is given back.

    Raises ClusterError if it is renewed.
    """
    began = time.monotonic()
    while True:
        is_enough = time.monotonic() - began >= seconds
        now = _newest(url)  # a look after the time is up, not before
        if now is None or now.is_free:
            return now
        if now != seen:
            raise _driven(url, now)
        if is_enough:
            return now
        time.sleep(min(terms.renew_s / 4, seconds))


def _numbers(url: str) -> list[int]:
    names = storage.list_names(storage.join(url, FOLDER))
    stems = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def _newest(url: str) -> _Seen | None:
    numbers = _numbers(url)
    if not numbers:
        return None
    try:
        return _Seen(numbers[-1], storage.read_bytes(_place(url, numbers[-1])))
    except FileNotFoundError:  # another driver has taken the next one and removed this one
        return _newest(url)


def _place(url: str, number: int) -> str:
    return storage.join(url, FOLDER, f"{number:06d}{SUFFIX}")


def _who(seen: _Seen | None) -> str:
    says = seen.says if seen is not None else {}
    if {"pid", "host"} <= says.keys():
        return f"process {says['pid']} on {says['host']}"
    return "another process"


def _driven(url: str, seen: _Seen | None) -> ClusterError:
    return ClusterError(
        f"the run in {url} is driven by {_who(seen)} at this moment; two drivers would mix their "
        "checkpoints. Wait for its end or stop it, or give another run.name."
    )


def _now() -> float:
    """Seconds that also pass while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _machine() -> str:
    """What process numbers belong to: this boot of this machine, and this container of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex  # nobody's: then nothing is known of any process


def _born(pid: int) -> str | None:
    """When a process began, in ticks since the boot: a number that a later one may bear again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _lives(pid: Any, born: Any) -> bool:
    return isinstance(pid, int) and born is not None and _born(pid) == born
