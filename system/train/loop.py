"""THE LOOP: take up the newest checkpoint; then, while images remain, update, report, save."""

import math
import shutil
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import torch

from data_pipeline.stream.loader import open_stream
from data_pipeline.stream.stream import Stream
from system.engine.checkpoints import Checkpoint
from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import name_of
from system.engine.schedules import is_due
from system.foundation.errors import CheckpointError
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation
from system.telemetry.ledger import Ledger
from system.train.consumption import Consumption
from system.train.departure import Announcements
from system.train.departure import Departure
from system.train.departure import Unannounced
from system.train.guards import limits
from system.train.guards.blame import blame
from system.train.guards.blame import reason
from system.train.guards.collapse import Collapse
from system.train.guards.pulse import Pulse
from system.train.guards.rollback import Rollback
from system.train.guards.rollback import exclusion_of
from system.train.guards.rollback import known_rollbacks
from system.train.guards.rollback import left_out
from system.train.guards.rollback import taint
from system.train.guards.watch import Watch
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
    pulse: Pulse | None = None,
    announcements: Announcements | None = None,
) -> None:
    """Train until the recipe's last image, or until `leave` says so; a checkpoint comes last.

    `scratch` is a local folder of this worker's own; `pulse` hears what the loop is at;
    `announcements` tell of machines that go. All workers run this alike. Raises NumericsError where
    the numbers have gone wrong, RolledBack where a restart is to go on without what made them go
    wrong, CheckpointError or DataError (BadInput) where what is stored does not fit the recipe.
    """
    pulse = pulse or Pulse()
    rollbacks = known_rollbacks(state.world, ledger)
    run, progress = state.recipe.run, restore(state, store, ledger, scratch, rollbacks)
    with closing(open_training_stream(state, ledger, rollbacks)) as stream:
        consumption, window = Consumption(state, stream, ledger), Window(state.world)
        watch, collapse = Watch(state, ledger, rollbacks), Collapse(state.recipe)
        departure = Departure(state.world, ledger, announcements or Unannounced())
        is_asked, is_first = False, True
        while progress.images_seen < run.total_images and not is_asked:
            with pulse.saving():  # where the end was announced, to wait for it is no hang
                departure.wait(progress.images_seen)
            before = progress.images_seen
            if why := left_out(rollbacks, before, before + run.global_batch):
                consumption.pass_over(why)
            else:
                outcome = update(state, pulse.taking(stream))
                window.add(outcome)
                watch.add(before, outcome)
                if is_first:
                    note_first(state, window, ledger)
                    is_first = False
                note_skip(state, outcome, ledger)
            pulse.beat()
            decision = departure.decide(progress.images_seen)
            is_asked = leave() or decision == "leave"
            is_last = progress.images_seen >= run.total_images or is_asked
            is_called = decision == "save"
            if is_last or is_due(run.report_every_images, before, progress.images_seen):
                consumption.write()
                report(state, window, stream, reporter, collapse)
                watch.check()
            is_due_now = is_due(run.checkpoint_every_images, before, progress.images_seen)
            if is_last or is_called or is_due_now:
                consumption.write()
                watch.check()
                keeping = departure.saving(progress.images_seen)
                with window.standing_still(), pulse.saving(), keeping:
                    save(state, reporter, scratch)


def restore(
    state: TrainState,
    store: CheckpointStore,
    ledger: Ledger,
    scratch: Path,
    rollbacks: Sequence[Rollback] = (),
) -> Progress:
    """Take up the newest checkpoint that is whole and that no spike has tainted, if there is one;
    the same on every worker.

    Raises CheckpointError, on every worker, where there are checkpoints but none is whole.
    """
    found = state.world.broadcast(_look(store, ledger, rollbacks) if state.world.is_first else None)
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


def _look(
    store: CheckpointStore, ledger: Ledger, rollbacks: Sequence[Rollback]
) -> Checkpoint | CheckpointError | None:
    """What to go on from, or why not to; what is passed over goes into the ledger."""
    found: Checkpoint | CheckpointError | None
    try:
        found = store.newest_or_refuse(lambda one: taint(rollbacks, one.images_seen, one.attempt))
    except CheckpointError as error:
        found = error
    for passed_over in store.passed_over:
        ledger.write(
            "checkpoint_passed_over",
            checkpoint=passed_over.checkpoint.url,
            reason=passed_over.reason,
        )
    return found


def open_training_stream(
    state: TrainState, ledger: Ledger, rollbacks: Sequence[Rollback] = ()
) -> Stream:
    """The run's data from where it stands, without what it was taken back for; bad samples go into
    the ledger."""
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
        exclusion=exclusion_of(rollbacks),
        on_bad_sample=lambda entry: ledger.write("bad_sample", **entry._asdict()),
    )


def note_first(state: TrainState, window: Window, ledger: Ledger) -> None:
    """Write down that the first update is done: until then this life was starting up."""
    if state.world.is_first:
        ledger.write("first_update", images_seen=state.progress.images_seen, **window.spent)


def note_skip(state: TrainState, outcome: Outcome, ledger: Ledger) -> None:
    """Write a skipped update down, and what it is owed to. All workers must take part.

    Raises NumericsError if there were too many in a row.
    """
    if not outcome.skipped:
        return
    found = blame(state.world, outcome)
    if state.world.is_first:
        ledger.write(
            "skipped_update",
            images_seen=state.progress.images_seen,
            reason=reason(found),
            blame=[asdict(each) for each in found],
        )
    limits.check_skips(state.progress, state.recipe.engine.max_skipped_updates)


def report(
    state: TrainState, window: Window, stream: Stream, reporter: Reporter, collapse: Collapse
) -> None:
    """Tell what the updates since the last report came to, and check it.

    Raises NumericsError where the likelihood is better than can be or a part of the model has died,
    DataError where more samples were bad than may be.
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
    limits.check_likelihood(state.recipe, values, images)
    collapse.check(state.progress.images_seen, values)


def save(state: TrainState, reporter: Reporter, scratch: Path) -> None:
    """Take the state of every worker and hand it on to be saved; say whether it is evaluated.

    It costs the copy out of device memory, and a wait where the last one is not saved yet.
    """
    seen = state.progress.images_seen
    reporter.settle()
    folder = scratch / name_of(seen, state.attempt)
    reporter.checkpoint(state.hold(), folder, seen, evaluate=is_evaluated(state.recipe, seen))


def is_evaluated(recipe: Recipe, images_seen: int) -> bool:
    """Whether the checkpoint at `images_seen` is to be evaluated: the first one at or after each
    multiple of `evaluation.every_images`, and the last of the run.
    """
    if isinstance(recipe.evaluation, NoEvaluation):
        return False
    run = recipe.run
    if images_seen >= run.total_images:
        return True
    if not is_due(run.checkpoint_every_images, images_seen - run.global_batch, images_seen):
        return False  # saved in between, because machines were about to go
    earlier = (images_seen - run.global_batch) // run.checkpoint_every_images
    earlier_save = math.ceil(earlier * run.checkpoint_every_images / run.global_batch)
    return is_due(recipe.evaluation.every_images, earlier_save * run.global_batch, images_seen)
