"""THE LOOP: take up the newest checkpoint; then, while images remain, update, report, save."""

import math
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch

from data_pipeline.stream.loader import Stream
from data_pipeline.stream.loader import open_stream
from system.engine.checkpoints import Checkpoint
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import name_of
from system.engine.schedules import is_due
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation
from system.telemetry.ledger import Ledger
from system.train import guards
from system.train.consumption import Consumption
from system.train.report import Outcome
from system.train.report import Reporter
from system.train.report import StepReport
from system.train.report import Window
from system.train.state import Progress
from system.train.state import TrainState
from system.train.update import update


def train(
    state: TrainState,
    store: CheckpointStore,
    reporter: Reporter,
    ledger: Ledger,
    *,
    scratch: Path,
    leave: Callable[[], bool] = lambda: False,
) -> None:
    """Train until the recipe's last image, or until `leave` says so; a checkpoint comes last.

    `scratch` is a local folder of this worker's own. All workers run this alike. Raises
    NumericsError where the numbers have gone wrong, CheckpointError or DataError (BadInput) where
    what is stored does not fit the recipe.
    """
    run, progress = state.recipe.run, restore(state, store, ledger, scratch)
    with closing(open_training_stream(state, ledger)) as stream:
        consumption, window = Consumption(state, stream, ledger), Window(state.world)
        is_asked, is_first = False, True
        while progress.images_seen < run.total_images and not is_asked:
            before = progress.images_seen
            outcome = update(state, stream)
            window.add(outcome)
            if is_first:
                note_first(state, window, ledger)
                is_first = False
            note_skip(state, outcome, ledger)
            is_asked = leave()
            is_last = progress.images_seen >= run.total_images or is_asked
            if is_last or is_due(run.report_every_images, before, progress.images_seen):
                consumption.write()
                report(state, window, stream, reporter)
            if is_last or is_due(run.checkpoint_every_images, before, progress.images_seen):
                consumption.write()
                with window.standing_still():
                    save(state, reporter, scratch)


def restore(state: TrainState, store: CheckpointStore, ledger: Ledger, scratch: Path) -> Progress:
    """Take up the newest checkpoint that is whole, if there is one; the same on every worker.

    Raises CheckpointError, on every worker, where there are checkpoints but none is whole.
    """
    found = state.world.broadcast(_look(store, ledger) if state.world.is_first else None)
    if isinstance(found, CheckpointError):
        raise found
    if found is not None:
        fetched = scratch / "restored"
        changes = state.restore(store.fetch(found, fetched))
        shutil.rmtree(fetched, ignore_errors=True)
        seen = state.progress.images_seen
        if state.world.is_first:
            ledger.write("resumed", images_seen=seen, checkpoint=found.url)
        if state.world.is_first and changes:
            ledger.write("manifest_changed", images_seen=seen, changes=changes)
    return state.progress


def _look(store: CheckpointStore, ledger: Ledger) -> Checkpoint | CheckpointError | None:
    """What to go on from, or why not to; what is passed over goes into the ledger."""
    found: Checkpoint | CheckpointError | None
    try:
        found = store.newest_or_refuse()
    except CheckpointError as error:
        found = error
    for passed_over in store.passed_over:
        ledger.write(
            "checkpoint_passed_over",
            checkpoint=passed_over.checkpoint.url,
            reason=passed_over.reason,
        )
    return found


def open_training_stream(state: TrainState, ledger: Ledger) -> Stream:
    """The run's data from where it stands; bad samples go into the ledger."""
    run = state.recipe.run
    return open_stream(
        state.manifest,
        state.recipe.data,
        seed=run.seed,
        world=state.world,
        global_batch=run.global_batch,
        micro_batch=state.micro_batch,
        images_seen=state.progress.images_seen,
        features=state.features,
        on_bad_sample=lambda entry: ledger.write("bad_sample", **entry._asdict()),
    )


def note_first(state: TrainState, window: Window, ledger: Ledger) -> None:
    """Write down that the first update is done: until then this life was starting up."""
    if state.world.is_first:
        ledger.write("first_update", images_seen=state.progress.images_seen, **window.spent)


def note_skip(state: TrainState, outcome: Outcome, ledger: Ledger) -> None:
    """Write a skipped update down. Raises NumericsError if there were too many in a row."""
    if not outcome.skipped:
        return
    if state.world.is_first:
        ledger.write("skipped_update", images_seen=state.progress.images_seen)
    guards.check_skips(state.progress, state.recipe.engine.max_skipped_updates)


def report(state: TrainState, window: Window, stream: Stream, reporter: Reporter) -> None:
    """Tell what the updates since the last report came to, and check it.

    Raises NumericsError where the likelihood is better than can be, DataError where more samples
    were bad than may be.
    """
    images = window.images_counted
    values = window.read()
    account = stream.account
    met = torch.tensor([account.bad.total(), account.images], device=state.world.device)
    bad, read = state.world.sum(met).tolist()
    values["train/bad_samples"] = float(bad)
    if state.world.is_first:
        reporter.report(StepReport(state.progress.images_seen, values))
    account.check(bad, read)
    guards.check_likelihood(state.recipe, values, images)


def save(state: TrainState, reporter: Reporter, scratch: Path) -> None:
    """Save on every worker and hand it on; say whether it is to be evaluated."""
    seen = state.progress.images_seen
    folder = scratch / name_of(seen, state.attempt)
    state.save(folder)
    reporter.checkpoint(folder, seen, evaluate=is_evaluated(state.recipe, seen))


def is_evaluated(recipe: Recipe, images_seen: int) -> bool:
    """Whether the checkpoint at `images_seen` is to be evaluated: the first one at or after each
    multiple of `evaluation.every_images`, and the last of the run.
    """
    if isinstance(recipe.evaluation, NoEvaluation):
        return False
    run = recipe.run
    if images_seen >= run.total_images:
        return True
    earlier = (images_seen - run.global_batch) // run.checkpoint_every_images
    earlier_save = math.ceil(earlier * run.checkpoint_every_images / run.global_batch)
    return is_due(recipe.evaluation.every_images, earlier_save * run.global_batch, images_seen)
