import pytest
import torch

from data_pipeline.shards.manifest import read_manifest
from system.foundation.errors import CheckpointError
from system.foundation.errors import DataError
from system.foundation.world import World
from system.train.assemble import assemble
from system.train.assemble import build_model
from tests.system.train.trials import CRITIC
from tests.system.train.trials import run_loop


def test_first_weights_are_a_function_of_the_seed(recipe) -> None:
    torch.manual_seed(1)
    one = build_model(recipe()).state_dict()
    torch.manual_seed(2)
    same = build_model(recipe()).state_dict()
    made = recipe()
    reseeded = made.model_copy(update={"run": made.run.model_copy(update={"seed": 1})})
    other = build_model(reseeded).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_global_generator_is_left_alone(recipe) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    build_model(recipe())
    assert torch.equal(torch.rand(1), expected)


def test_data_of_another_size_are_refused(recipe, digits) -> None:
    made = recipe()
    larger = made.data.model_copy(update={"image_size": 16})
    with pytest.raises(DataError, match="image_size"):
        assemble(made.model_copy(update={"data": larger}), World(), digits)


def test_a_discriminator_has_an_engine_of_its_own(recipe, digits) -> None:
    state = assemble(recipe(objective={"adversarial": CRITIC}), World(), digits)
    assert state.critic is not None
    assert state.critic.module is not state.engine.module
    assert assemble(recipe(), World(), digits).critic is None


@pytest.fixture
def pretrained(recipe):
    """The averaged weights of a short run, and its folder."""
    made = recipe(run={"name": "before", "global_batch": 8, "total_images": 16} | EVERY)
    ended, _ = run_loop(World(), made)
    return ended.averages, f"{made.run.root}/before"


EVERY = {"report_every_images": 16, "checkpoint_every_images": 16}


def frozen(recipe, url: str, **autoencoder: object):
    shape = recipe().autoencoder.model_dump(mode="json")
    return recipe(autoencoder=shape | {"weights": url} | autoencoder, objective={"route": "frozen"})


@pytest.mark.parametrize("place", ["", "/checkpoints/000000000016-1"])
def test_a_frozen_autoencoder_starts_from_averaged_weights_and_stays(
    recipe, pretrained, place
) -> None:
    averages, folder = pretrained
    ended, _ = run_loop(World(), frozen(recipe, folder + place))
    for name, weight in averages.items():
        if name.startswith("autoencoder."):
            assert torch.equal(ended.weights[name], weight)
            assert torch.equal(ended.averages[name], weight)
    fresh = build_model(recipe()).state_dict()
    assert not torch.equal(
        ended.weights["flow.conditioner.vectors.table"], fresh["flow.conditioner.vectors.table"]
    )


def test_the_flow_starts_afresh(recipe, pretrained) -> None:
    averages, folder = pretrained
    model = build_model(frozen(recipe, folder))
    fresh = build_model(recipe()).state_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, (averages if "autoencoder." in name else fresh)[name])


def test_an_autoencoder_of_another_shape_is_refused(recipe, pretrained) -> None:
    with pytest.raises(CheckpointError, match=r"autoencoder\.weights.*another shape"):
        build_model(frozen(recipe, pretrained[1], width=16))


def test_weights_that_are_not_there_are_refused(recipe, tmp_path) -> None:
    with pytest.raises(CheckpointError, match="found no committed checkpoint"):
        build_model(frozen(recipe, str(tmp_path)))


def test_manifest_of_all_splits_is_cut_to_training(recipe, digits) -> None:
    state = assemble(recipe(), World(), read_manifest(digits.url))
    assert state.manifest.digest == digits.split("train").digest
    assert state.micro_batch == 8
    assert state.accumulation == 1
