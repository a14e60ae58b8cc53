"""The errors a user may meet: what was found, what was expected, where, and what to do.

And the exit codes of the programs in `jobs/`, by which a scheduler may decide without reading.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """With what a program leaves. Only after PREEMPTED is it right to start it again unseen."""

    DONE = 0
    FAILED = 1  # for a reason that nobody foresaw, or a check that does not hold
    BAD_INPUT = 2  # the recipe, the cluster or the checkpoint does not fit: a person must change it
    NUMERICS = 3  # a loss or gradient stayed not finite, or is better than can be
    DATA = 4  # shards or samples are missing or damaged
    STORAGE = 5  # a store or a disk did not take or give what it should
    STALLED = 6  # a stage gave nothing for longer than allowed, again and again
    PREEMPTED = 75  # the machine was taken away (EX_TEMPFAIL): the same command goes on
    INTERRUPTED = 130  # by a person: Ctrl-C, or the terminal closed


class TrainingSystemError(Exception):
    """An error of this system.

    `retryable` says whether a restart can help, `planned` whether one is all that it is for: such
    an error ends an attempt on purpose and counts as no failure.
    """

    retryable = False
    planned = False
    exit_code: int = ExitCode.FAILED


class BadInput(TrainingSystemError):
    """Something the user gave cannot be used; nothing on disk was touched."""

    exit_code = ExitCode.BAD_INPUT


class RecipeError(BadInput):
    """A recipe, overlay or override is not valid. The message lists every problem found."""


class DataError(BadInput):
    """Shards or their manifest are missing, damaged, or of other data than was expected."""

    exit_code = ExitCode.DATA


class CheckpointError(BadInput):
    """A checkpoint is absent, not committed, damaged, or of another shape."""


class ClusterError(BadInput):
    """The cluster cannot run what the recipe asks for (processors, ports, space)."""


class NumericsError(TrainingSystemError):
    """A loss or gradient was not finite too often for training to go on."""

    exit_code = ExitCode.NUMERICS


class StorageError(TrainingSystemError):
    """A url could not be read or written. Trying again may help: stores fail now and then."""

    retryable = True
    exit_code = ExitCode.STORAGE


class StalledError(TrainingSystemError):
    """A stage gave nothing for longer than allowed. The message says which, and what it was at."""

    retryable = True
    exit_code = ExitCode.STALLED


class Preempted(TrainingSystemError):
    """The machine was taken away from the run. The same command goes on elsewhere."""

    retryable = True
    exit_code = ExitCode.PREEMPTED


class RolledBack(TrainingSystemError):
    """A run's numbers went wrong from a position on. Started again it goes on from before that,
    without the positions which the ledger's `rolled_back` event names."""

    retryable = True
    planned = True
    exit_code = ExitCode.NUMERICS
