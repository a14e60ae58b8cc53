"""What has changed since somebody looked last: contents by key, and a mark to ask from.

    changes = Changes()
    changes.put("gfid", {"x": [1]})
    changes.since(None)    # {"mark": "7f3a.1", "all": True, "changed": {"gfid": ...}, "gone": []}
    changes.since("7f3a.1")    # nothing changed, and the same mark

A mark of another process, or one that is no mark, is answered with everything.
"""

import secrets
import threading
from collections.abc import Iterable
from typing import Any


class Changes:
    """Contents that JSON can hold, each with the number of the change that made it what it is."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(4)
        self._number = 0
        self._content: dict[str, tuple[int, Any]] = {}
        self._gone: dict[str, int] = {}
        self._lock = threading.Lock()

    def put(self, key: str, content: Any) -> None:
        """Keep a content; one that is equal to what is there is no change."""
        with self._lock:
            if key in self._content and self._content[key][1] == content:
                return
            self._number += 1
            self._content[key] = self._number, content
            self._gone.pop(key, None)

    def keep_only(self, keys: Iterable[str]) -> None:
        """Drop what has none of these keys."""
        kept = set(keys)
        with self._lock:
            for key in [key for key in self._content if key not in kept]:
                self._number += 1
                del self._content[key]
                self._gone[key] = self._number

    def since(self, mark: str | None) -> dict[str, Any]:
        """What to send to somebody who has what was there at `mark`; None: who has nothing."""
        with self._lock:
            known = self._number_of(mark)
            return {
                "mark": f"{self._life}.{self._number}",
                "all": known is None,
                "changed": {
                    key: content
                    for key, (number, content) in self._content.items()
                    if known is None or number > known
                },
                "gone": []
                if known is None
                else sorted(key for key, number in self._gone.items() if number > known),
            }

    def _number_of(self, mark: str | None) -> int | None:
        life, _, number = (mark or "").partition(".")
        if life != self._life or not number.isdecimal() or int(number) > self._number:
            return None
        return int(number)
