"""The errors a user may meet: what was found, what was expected, where, and what to do."""

EXIT_BAD_INPUT = 2


class TrainingSystemError(Exception):
    """An error of this system. `retryable` says whether a restart can help."""

    retryable = False
    exit_code = 1


class BadInput(TrainingSystemError):
    """Something the user gave cannot be used; nothing on disk was touched. Exit code 2."""

    exit_code = EXIT_BAD_INPUT


class RecipeError(BadInput):
    """A recipe, overlay or override is not valid. The message lists every problem found."""


class DataError(BadInput):
    """Shards or their manifest are missing, damaged, or of other data than was expected."""


class CheckpointError(BadInput):
    """A checkpoint is absent, not committed, damaged, or of another shape."""


class ClusterError(BadInput):
    """The cluster cannot run what the recipe asks for (processors, ports, space)."""


class NumericsError(TrainingSystemError):
    """A loss or gradient was not finite too often for training to go on."""


class StorageError(TrainingSystemError):
    """A url could not be read or written. Trying again may help: stores fail now and then."""

    retryable = True


class StalledError(TrainingSystemError):
    """A stage gave nothing for longer than allowed. The message says which, and what it was at."""

    retryable = True


class RolledBack(TrainingSystemError):
    """A run's numbers went wrong from a position on. Started again it goes on from before that,
    without the positions which the ledger's `rolled_back` event names."""

    retryable = True
