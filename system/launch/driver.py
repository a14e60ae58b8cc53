"""The program beside the workers: checks, starts them through Ray, tells what happens, finishes.

A run lives in the folder `<run.root>/<run.name>`. Started again it goes on from its newest
checkpoint; when it is done it says so. The driver never touches a weight: what it shows it has read
in the run's ledger, so that a driver that dies loses nothing.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train

from system.engine.checkpoints import CheckpointStore
from system.evaluation.lag import waiting
from system.evaluation.task import GRACE_S
from system.evaluation.task import evaluate_reported
from system.foundation import storage
from system.foundation.config import Resolved
from system.foundation.config import flatten
from system.foundation.errors import Preempted
from system.foundation.errors import StorageError
from system.foundation.errors import TrainingSystemError
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation
from system.launch import assignment
from system.launch import preflight
from system.launch.causes import stated
from system.launch.cluster import is_given
from system.launch.cluster import joined
from system.launch.cluster import machine
from system.launch.cluster import private_resources
from system.launch.cluster import run_again_inside
from system.launch.command import ROOT
from system.launch.elastic import Trainer
from system.launch.elastic import check_sizes
from system.launch.elastic import kept_for_evaluation
from system.launch.elastic import process_group
from system.launch.elastic import scaling
from system.launch.failures import FailureWatch
from system.launch.failures import legible_failures
from system.launch.heap import heap_settings
from system.launch.locks import Holding
from system.launch.locks import check_not_driven
from system.launch.locks import driver_lock
from system.launch.placement import Placement
from system.launch.plan.utilisation import utilisation
from system.launch.prometheus_sink import PrometheusSink
from system.launch.provenance import write_provenance
from system.launch.ray_list import ListForgiven
from system.launch.resumption import tell_of_start
from system.launch.retention import Keeper
from system.launch.retention import retention
from system.launch.retention import without_gone
from system.telemetry.console import Console
from system.telemetry.console import clock
from system.telemetry.goodput import LiveAccount
from system.telemetry.ledger import Event
from system.telemetry.ledger import Follower
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.telemetry.wandb_sink import WandbSink

# Ray keeps its own list of checkpoints beside them.
RAY_LIST = "checkpoint_manager_snapshot.json"
GPUS = ROOT / "configs" / "plan" / "gpus.yaml"
POLL_S = 0.5
WANDB_PATIENCE_S = 20.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the pre-flight checks found: enough to start or to say that nothing is left to do."""

    recipe: Recipe  # with every path absolute
    url: str
    images_seen: int
    device: str = "cpu"

    @property
    def is_done(self) -> bool:
        """Whether all images have been seen and the run was brought to its end."""
        total = self.recipe.run.total_images
        return self.images_seen >= total and finished_images(self.url) >= total


def drive(resolved: Resolved[Recipe]) -> int:
    """Run a recipe to its end on the cluster at RAY_ADDRESS, or on a private Ray. The exit code.

    Raises an error of the BadInput family, before anything starts, for what cannot run.
    """
    plan = prepare(resolved.recipe)
    if plan.is_done:
        print(done_line(plan))
        return 0
    check_not_driven(plan.url)
    if not is_given():
        offered = private_resources(plan.recipe, machine())
        check_cluster(plan, offered)
        return run_again_inside(offered)
    with joined() as resources:
        plan = check_cluster(plan, resources)
        with driver_lock(plan.url) as held, legible_failures(plan.url):
            tell_of_start(plan.url, resolved, ROOT, images_seen=plan.images_seen)
            write_provenance(plan.url, resolved, ROOT)
            set_aside_unusable_list(plan.url)
            _train(plan, held)
    return 0


@preflight.answering_storage()
def prepare(recipe: Recipe) -> Plan:
    """The checks that need no cluster. Raises an error of the BadInput family."""
    preflight.check_places(recipe, Path.cwd())
    recipe = preflight.with_absolute_paths(recipe)
    url = preflight.run_url(recipe)
    manifest = preflight.check_data(recipe)
    latest = preflight.check_checkpoint(recipe, manifest, url)
    plan = Plan(recipe, url, latest.images_seen if latest else 0)
    if not plan.is_done:
        preflight.check_inputs(recipe)
        preflight.check_features(recipe, manifest)
        size = preflight.checkpoint_bytes(recipe)
        preflight.check_space(url, size, recipe.run.keep_checkpoints + recipe.run.keep_best)
    return plan


def check_cluster(plan: Plan, resources: preflight.Resources) -> Plan:
    """The checks of what the cluster has, and at last that the run's folder can be written."""
    check_sizes(plan.recipe)
    device = preflight.check_device(plan.recipe, resources)
    preflight.check_cluster(plan.recipe, resources, uses_gpus=device == "cuda")
    preflight.check_writable(plan.url)
    return Plan(plan.recipe, plan.url, plan.images_seen, device)


def finished_images(url: str) -> int:
    """The images after which the run was last declared finished; 0 if it never was."""
    events = Follower(url).poll()
    return max((e["images_seen"] for e in events if e["kind"] == "run_finished"), default=0)


def set_aside_unusable_list(url: str) -> None:
    """Rename Ray's own list of checkpoints where Ray would refuse to start with it; strike from it
    what is gone.

    That is where it is torn or of another version. Which one to resume from is decided by the
    checkpoints themselves, so Ray may well begin a new list.
    """
    place = storage.join(url, "checkpoints", RAY_LIST)
    if not storage.exists(place):
        return
    content = storage.read_bytes(place)
    try:
        listed = json.loads(content)
        version, names = listed["ray_version"], _listed(listed)
        gone = [n for n in names if not storage.exists(storage.join(url, "checkpoints", n))]
        if version != ray.__version__:
            reason = f"Ray {version} wrote it, this is {ray.__version__}"
        elif gone:
            storage.write_bytes(place, json.dumps(without_gone(listed, frozenset(gone))).encode())
            return
        else:
            return
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it cannot be read ({error})"
    log.warning("Ray's list of checkpoints is set aside: %s", reason)
    storage.write_bytes(f"{place}.set-aside-{time.time_ns()}", content)
    storage.remove(place)


def _listed(listed: dict[str, Any]) -> list[str]:
    return [one["checkpoint_dir_name"] for one in listed["checkpoint_results"]]


def trainer(plan: Plan) -> Trainer:
    """Ray's trainer for a plan: everything it needs is derived from the recipe."""
    recipe, scaled = plan.recipe, scaling(plan.recipe, plan.device)
    placement = Placement(
        recipe.world_sizes[0],
        scaled.resources_per_worker or {},
        labels=recipe.cluster.training_labels,
        # A fixed number of workers takes what it needs; an elastic one leaves evaluations theirs.
        kept=kept_for_evaluation(recipe) if scaled.elasticity_enabled else {},
    )
    return Trainer(
        assignment.start,
        recipe=recipe,
        train_loop_config=assignment.Assignment(
            recipe, plan.url, plan.device, utilisation(recipe, plan.device, GPUS)
        ).to_mapping(),
        torch_config=process_group("nccl" if plan.device == "cuda" else "gloo"),
        scaling_config=scaled,
        run_config=ray.train.RunConfig(
            name="checkpoints",
            storage_path=plan.url,
            worker_runtime_env={"env_vars": heap_settings(plan.device)},
            failure_config=ray.train.FailureConfig(
                # How often is for `FailureWatch` to say, which looks at the errors.
                max_failures=-1,
                max_preemption_failures=-1,
                # A checkpoint without the share of the workers that go would be of no use.
                relax_collectives_on_preemption=False,
            ),
            checkpoint_config=retention(),
            callbacks=[FailureWatch(plan.url, recipe, placement), placement, ListForgiven()],
        ),
        validation_config=_validation(plan),
    )


def _validation(plan: Plan) -> ray.train.ValidationConfig | None:
    recipe = plan.recipe
    if isinstance(recipe.evaluation, NoEvaluation):
        return None
    settings: dict[str, Any] = {
        "output": plan.url,
        "recipe": recipe.model_dump(mode="json"),
        "device": "cuda" if recipe.cluster.evaluation_gpus else "cpu",
    }
    return ray.train.ValidationConfig(
        fn=evaluate_reported,
        task_config=ray.train.ValidationTaskConfig(
            fn_kwargs=settings, timeout_s=recipe.evaluation.timeout_s + GRACE_S
        ),
        # It only watches; what measures has the CPUs and GPUs. Ray ends the run (2.60) where this
        # task dies for good, so it is started again until its time is up.
        ray_remote_kwargs={
            "num_cpus": 0,
            "label_selector": recipe.cluster.evaluation_labels or None,
            "max_retries": -1,
        },
    )


def _ray_settings(recipe: Recipe, device: str) -> dict[str, str]:
    """Ray Train reads these from the driver's environment and hands them on."""
    return _hang_detector(recipe, device) | {
        # A report waits for the controller's next poll; two seconds is its default.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        # How often Ray looks whether a node is being drained; five seconds is its default, which
        # is much of a notice of thirty.
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(recipe.cluster.start_timeout_s),
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # Its progress would mix with ours.
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    }


def _hang_detector(recipe: Recipe, device: str) -> dict[str, str]:
    """Ray's look at NCCL's operation counts (2.60), where there are any.

    It restarts the group no sooner than a save may last, during which workers wait for each other.
    """
    hangs = recipe.guards.hangs
    if device != "cuda" or hangs.on_hang == "ignore":
        return {}
    return {
        "RAY_TRAIN_ENABLE_NCCL_HANG_DETECTOR": "1",
        "RAY_TRAIN_NCCL_RAS_ACTION": "fail",
        "RAY_TRAIN_NCCL_RAS_CONFIRM_DURATION_S": str(max(hangs.least_s, hangs.save_s)),
    }


def _train(plan: Plan, held: Holding) -> None:
    recipe, started = plan.recipe, time.monotonic()
    os.environ.update(_ray_settings(recipe, plan.device))
    follower = Follower(plan.url)
    before = follower.poll()
    spent, keeper = LiveAccount(before), Keeper(plan.url, recipe, before)
    console = Console(recipe.run.total_images)
    mirror = WandbSink(recipe.wandb, plan.url, flatten(recipe))
    sinks = (console, mirror, PrometheusSink(recipe.run.name))
    fit = _Thread(trainer(plan).fit)
    patience = 2.0
    try:
        while not fit.join(POLL_S):
            held.check()
            keeper.see(news := _news(follower))
            _show(spent.with_news(news), sinks)
        _show(spent.with_news(_news(follower)), sinks)
        fit.raise_error()
        Keeper(plan.url, recipe, read_ledger(plan.url)).prune()
        _finish(plan, time.monotonic() - started)
        _show(spent.with_news(_news(follower)), sinks)
        patience = WANDB_PATIENCE_S
    finally:
        console.close()
        mirror.close(patience)
    print(done_line(plan))


def _news(follower: Follower) -> list[Event]:
    """What is new in the ledger; nothing while its store is down, which is no reason to end a run:
    whether that lasts too long is for the lease to say, and for whoever must write.
    """
    try:
        return follower.poll()
    except StorageError as error:
        log.warning("the ledger cannot be read at present: %s", error)
        return []


def _show(events: list[Event], sinks: Sequence[Console | WandbSink | PrometheusSink]) -> None:
    for event in events:
        for sink in sinks:
            sink.show(event)


def _finish(plan: Plan, seconds: float) -> None:
    latest = CheckpointStore(storage.join(plan.url, "checkpoints")).latest()
    assert latest is not None, "a run that ended well has saved its end"
    unanswered = waiting(read_ledger(plan.url))
    with Ledger(plan.url, "driver", run=plan.recipe.run.name, attempt=latest.attempt) as ledger:
        for images_seen in unanswered:
            ledger.write(
                "evaluation_failed",
                images_seen=images_seen,
                error="given up: Ray has nothing to say of it; its logs may",
            )
        if latest.images_seen < plan.recipe.run.total_images:
            ledger.write("paused", images_seen=latest.images_seen, seconds=seconds)
            raise Preempted(
                f"run {plan.recipe.run.name!r} was asked to pause and has saved at "
                f"{latest.images_seen:,} images. The same command goes on."
            )
        ledger.write("run_finished", images_seen=latest.images_seen, seconds=seconds)


def done_line(plan: Plan) -> str:
    """What is said of a run that is done: how much, how long, and where things lie."""
    events = Follower(plan.url).poll()
    seconds = sum(e["seconds"] for e in events if e["kind"] == "run_finished")
    latest = CheckpointStore(storage.join(plan.url, "checkpoints")).latest(verify=False)
    checkpoint = latest.url if latest else "none"
    return (
        f"run {plan.recipe.run.name!r} is done: {finished_images(plan.url):,} images in "
        f"{clock(seconds)}\n"
        f"  folder      {plan.url}\n"
        f"  checkpoint  {checkpoint}\n"
        f"  numbers     {storage.join(plan.url, 'eval')}, {storage.join(plan.url, 'ledger')}\n"
        "To train longer raise run.total_images; for a new run give another run.name."
    )


class _Thread:
    """`fit` beside the main thread, which stays free for signals; Ray would take them over."""

    def __init__(self, fit: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(fit,), name="fit", daemon=True)
        self._thread.start()

    def _run(self, fit: Callable[[], object]) -> None:
        try:
            fit()
        except BaseException as error:
            self._error = error

    def join(self, seconds: float) -> bool:
        """Wait; whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def raise_error(self) -> None:
        """Raise what `fit` raised: the error of this system inside it, where there is one."""
        if self._error is None:
            return
        found: TrainingSystemError | None = stated(self._error)
        raise found or self._error
