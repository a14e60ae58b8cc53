"""Ray's trainer for a recipe: of a fixed number of workers, or of as many as there is room for."""

import logging
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchConfig
from ray.train.torch import TorchTrainer

from system.foundation.errors import ClusterError
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import NoEvaluation

KNOWN_RAY = "2.60."
# Parts of Ray's controller that this system goes without. One starts a process for Ray's datasets
# beside every start of workers. The other asks each second whether the controller lives, to free
# its places if not, and takes no answer for a no: on a machine under load it ended a healthy group.
# Ray frees the places of a job that has ended by itself, and a job here ends with its controller.
UNUSED_CALLBACKS = ("DatasetsCallback", "PlacementGroupCleanerCallback")
# A save that a change of size waits for; then the change costs what no checkpoint has.
SAVE_PATIENCE_S = 600.0
# A label's wanted value may begin with one of these in Ray: then it is more than one value.
OPERATORS = ("!", "in(", "!in(")

log = logging.getLogger(__name__)


def scaling(recipe: Recipe, device: str) -> ray.train.ScalingConfig:
    """How many workers Ray starts, and what each is given."""
    cluster, cuda = recipe.cluster, device == "cuda"
    fixed = cluster.min_workers is None
    return ray.train.ScalingConfig(
        num_workers=cluster.workers if fixed else (recipe.world_sizes[0], cluster.workers),
        elastic_resize_monitor_interval_s=float(cluster.resize_interval_s),
        use_gpu=cuda,
        resources_per_worker={"CPU": cluster.cpus_per_worker} | ({"GPU": 1.0} if cuda else {}),
        label_selector=dict(cluster.training_labels) or None,
    )


def kept_for_evaluation(recipe: Recipe) -> dict[str, float]:
    """What no worker takes, so that evaluations run beside as many workers as there may be."""
    if isinstance(recipe.evaluation, NoEvaluation) or _evaluates_elsewhere(recipe):
        return {}
    parts, cluster = recipe.cluster.evaluation_parts, recipe.cluster
    return {"CPU": parts * cluster.evaluation_cpus, "GPU": parts * cluster.evaluation_gpus}


def _evaluates_elsewhere(recipe: Recipe) -> bool:
    """Whether no node has the labels of both, since a label has one value on a node."""
    training, evaluation = recipe.cluster.training_labels, recipe.cluster.evaluation_labels
    return any(
        name in training and training[name] != value
        for name, value in evaluation.items()
        if not value.startswith(OPERATORS)
    )


def check_sizes(recipe: Recipe, version: str = ray.__version__) -> None:
    """Raise ClusterError where this Ray could start a number of workers that the run cannot have.

    Our own rule is written for one version. Another Ray's takes any number in between.
    """
    fewest, most = recipe.world_sizes[0], recipe.cluster.workers
    if version.startswith(KNOWN_RAY) or len(recipe.world_sizes) == most - fewest + 1:
        return
    listed = ", ".join(str(size) for size in recipe.world_sizes)
    raise ClusterError(
        f"with Ray {version} a run may get any number of workers from {fewest} to {most}, but "
        f"run.global_batch {recipe.run.global_batch} can only be cut for {listed}. Set "
        f"cluster.min_workers to {most}, or install Ray {KNOWN_RAY}*."
    )


def process_group(backend: str, version: str = ray.__version__) -> Any:
    """What makes the workers' process group: Ray's own where this Ray is not the known one."""
    if not version.startswith(KNOWN_RAY):
        return TorchConfig(backend=backend)
    # Another Ray may lack what this needs.
    from system.launch.torch_group import TorchGroup

    return TorchGroup(backend)


class Trainer(TorchTrainer):
    """Ray's trainer, with a rule of ours for the number of workers where that may change."""

    def __init__(self, *given: Any, recipe: Recipe, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self._recipe = recipe

    def _create_default_callbacks(self) -> list[Any]:
        made: list[Any] = super()._create_default_callbacks()
        return [each for each in made if type(each).__name__ not in UNUSED_CALLBACKS]

    def _initialize_and_run_controller(self, **given: Any) -> Any:
        if self.scaling_config.elasticity_enabled:
            given |= self._rule()
        return super()._initialize_and_run_controller(**given)

    def _rule(self) -> dict[str, Any]:
        if not ray.__version__.startswith(KNOWN_RAY):
            log.warning(
                "Ray %s is not the one whose rule for the number of workers is known here: where "
                "nodes join, the updates since the last checkpoint are trained again",
                ray.__version__,
            )
            return {}
        # Another Ray may lack what this needs.
        from system.launch.scaling import SavingScalingPolicy

        rule = SavingScalingPolicy(
            self.scaling_config,
            self._recipe.world_sizes,
            kept_for_evaluation(self._recipe),
            labels=self._recipe.cluster.training_labels,
            patience_s=SAVE_PATIENCE_S,
        )
        return {"scaling_policy": rule}
