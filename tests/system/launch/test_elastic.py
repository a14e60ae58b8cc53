"""Which trainer a recipe gets, and what it is told of the number of workers."""

import pytest
import ray
from ray.train.torch import TorchConfig
from ray.train.torch import TorchTrainer

from system.foundation.errors import ClusterError
from system.foundation.settings.evaluation import NoEvaluation
from system.launch import elastic
from system.launch.driver import Plan
from system.launch.driver import trainer
from system.launch.scaling import SavingScalingPolicy
from system.launch.torch_group import TorchGroup


@pytest.fixture
def stretched(recipe):
    """Two to eight workers, of which 64 images can be cut for 2, 4 and 8."""
    cluster = recipe.cluster.model_copy(update={"workers": 8, "min_workers": 2})
    return recipe.model_copy(update={"cluster": cluster})


def test_a_fixed_number_is_left_to_ray(recipe, tmp_path):
    made = elastic.scaling(recipe, "cpu")
    assert made.num_workers == 2
    assert made.resources_per_worker == {"CPU": 1}
    assert not trainer(Plan(recipe, str(tmp_path), 0)).scaling_config.elasticity_enabled


def test_a_range_begins_with_a_size_that_can_be(stretched):
    cluster = stretched.cluster.model_copy(update={"min_workers": 3, "resize_interval_s": 7})
    made = elastic.scaling(stretched.model_copy(update={"cluster": cluster}), "cuda")
    assert made.num_workers == (4, 8)
    assert made.elastic_resize_monitor_interval_s == 7.0
    assert made.resources_per_worker == {"CPU": 1, "GPU": 1.0}


def test_our_rule_is_for_the_ray_it_was_written_for(stretched, tmp_path, monkeypatch, caplog):
    made = trainer(Plan(stretched, str(tmp_path), 0))
    rule = made._rule()["scaling_policy"]
    assert isinstance(rule, SavingScalingPolicy)
    monkeypatch.setattr(ray, "__version__", "3.0.0")
    assert made._rule() == {}
    assert "are trained again" in caplog.text


def test_our_process_group_is_for_the_ray_it_was_written_for():
    assert isinstance(elastic.process_group("gloo"), TorchGroup)
    assert elastic.process_group("gloo", "3.0.0") == TorchConfig(backend="gloo")


def test_what_only_costs_or_harms_does_not_run_beside_the_controller(recipe, tmp_path):
    made = trainer(Plan(recipe, str(tmp_path), 0))
    ours = {type(each).__name__ for each in made._create_default_callbacks()}
    rays = {type(each).__name__ for each in TorchTrainer._create_default_callbacks(made)}
    assert rays - ours == {"DatasetsCallback", "PlacementGroupCleanerCallback"}


def test_another_ray_would_start_sizes_that_cannot_be(stretched):
    elastic.check_sizes(stretched)
    with pytest.raises(ClusterError, match=r"with Ray 3\.0\.0 .* can only be cut for 2, 4, 8"):
        elastic.check_sizes(stretched, "3.0.0")
    cluster = stretched.cluster.model_copy(update={"workers": 2, "min_workers": 1})
    elastic.check_sizes(stretched.model_copy(update={"cluster": cluster}), "3.0.0")


def test_evaluations_keep_what_they_need(recipe):
    cluster = recipe.cluster.model_copy(update={"evaluation_workers": 2, "evaluation_gpus": 0.5})
    made = recipe.model_copy(update={"cluster": cluster})
    assert elastic.kept_for_evaluation(made) == {"CPU": 3.0, "GPU": 1.5}
    silent = made.model_copy(update={"evaluation": NoEvaluation()})
    assert elastic.kept_for_evaluation(silent) == {}


@pytest.mark.parametrize(
    ("training", "evaluation", "kept"),
    [
        ({}, {"pool": "evaluation"}, True),
        ({"pool": "training"}, {}, True),
        ({"pool": "training"}, {"pool": "training"}, True),
        ({"pool": "training"}, {"zone": "a"}, True),
        ({"pool": "training"}, {"pool": "!campaign"}, True),
        ({"pool": "training"}, {"pool": "evaluation"}, False),
    ],
)
def test_nodes_that_are_for_evaluations_alone_keep_nothing_from_workers(
    recipe, training, evaluation, kept
):
    labels = {"training_labels": training, "evaluation_labels": evaluation}
    made = recipe.model_copy(update={"cluster": recipe.cluster.model_copy(update=labels)})
    assert bool(elastic.kept_for_evaluation(made)) == kept
    assert elastic.scaling(made, "cpu").label_selector == (training or None)
