"""The driver removes the checkpoints that do not stay; Ray, which knows fewer reasons, none.

What Ray has in its list and finds no more it would stumble over at the next start of a driver, so
`without_gone` strikes it from there. Within the life of a driver Ray looks at none of them again.
"""

import logging
from collections.abc import Sequence
from typing import Any

import ray.train

from system.engine.checkpoints import CheckpointStore
from system.foundation import storage
from system.foundation.errors import StorageError
from system.foundation.recipe import Recipe
from system.telemetry.ledger import Event
from system.train.retention import prune

# After one of these another checkpoint may have to go.
CHANGES = frozenset(
    {"checkpoint", "evaluation", "evaluation_dropped", "evaluation_failed", "rolled_back"}
)

log = logging.getLogger(__name__)


def retention() -> ray.train.CheckpointConfig:
    """Ray's setting: it keeps all."""
    return ray.train.CheckpointConfig(num_to_keep=None)


class Keeper:
    """Follows a run's ledger, and removes what does not stay."""

    def __init__(self, url: str, recipe: Recipe, events: Sequence[Event]) -> None:
        self._store = CheckpointStore(storage.join(url, "checkpoints"))
        self._recipe = recipe
        self._events = [*events]

    def see(self, events: Sequence[Event]) -> None:
        """Take in what is new. A store that fails only puts off what is to be done."""
        self._events += events
        if not any(event["kind"] in CHANGES for event in events):
            return
        try:
            self.prune()
        except (OSError, StorageError) as error:
            log.warning("checkpoints that are to go stay for now: %s", error)

    def prune(self) -> None:
        """Remove what does not stay, as far as is known."""
        prune(self._store, self._recipe, self._events)


def without_gone(listed: dict[str, Any], gone: frozenset[str]) -> dict[str, Any]:
    """Ray's list without the checkpoints that are gone, by the names of their folders."""
    results = listed["checkpoint_results"]
    there = [at for at, one in enumerate(results) if one["checkpoint_dir_name"] not in gone]
    pending = [
        pair
        for pair in zip(
            listed["pending_training_results"], listed["pending_validation_specs"], strict=True
        )
        if pair[0]["checkpoint_dir_name"] not in gone
    ]
    latest = listed["latest_checkpoint_result"]
    return listed | {
        "checkpoint_results": [results[at] for at in there],
        "checkpoint_report_indices": [listed["checkpoint_report_indices"][at] for at in there],
        "latest_checkpoint_result": (
            None if latest is None or latest["checkpoint_dir_name"] in gone else latest
        ),
        "pending_training_results": [result for result, _ in pending],
        "pending_validation_specs": [spec for _, spec in pending],
        **{
            kind: [name for name in listed[kind] if name not in gone]
            for kind in listed
            if kind.endswith("_checkpoint_dir_names")
        },
    }
