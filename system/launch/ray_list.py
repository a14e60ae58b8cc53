"""Ray's own list of checkpoints, which it writes anew with each one: a failed write ends no run.

Ray's controller (2.60) ends at any error there, after the checkpoint itself was committed. The list
is of little use to us: what a run goes on from is decided by the checkpoints themselves. So a store
that fails leaves it as it was, and the next write, which brings it whole, mends that; a list that a
full disk has torn is set aside by the next driver. What a full disk means for the run is decided
where a worker meets it.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any

from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager

WRITE = "_write_state_to_storage"

log = logging.getLogger(__name__)


class ListForgiven(ControllerCallback):
    """Runs beside Ray's controller, in whose process it finds the list's writer."""

    def after_controller_start(self, train_run_context: Any) -> None:
        """Ray's call before anything is reported."""
        write = getattr(CheckpointManager, WRITE)
        if not hasattr(write, "__wrapped__"):  # one process may be one controller after the other
            setattr(CheckpointManager, WRITE, forgiven(write))


def forgiven(write: Callable[[Any], None]) -> Callable[[Any], None]:
    """The same, but for a warning where the store fails."""

    @functools.wraps(write)
    def written(manager: Any) -> None:
        try:
            write(manager)
        except OSError as error:
            log.warning("Ray's list of checkpoints is written with the next one: %s", error)

    return written
