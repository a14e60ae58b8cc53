import pytest
import torch

from system.evaluation.subject import assemble_subject
from system.evaluation.subject import find_checkpoint
from system.evaluation.subject import read_recipe
from system.evaluation.subject import read_subject
from system.evaluation.subject import subject_digest
from system.foundation.errors import CheckpointError
from system.objectives.joint import JointModel


def test_weights_come_from_the_checkpoint(commit, recipe, subject):
    read = read_subject(commit(recipe))
    assert read.images_seen == subject.images_seen
    assert read.recipe == recipe
    assert not read.model.training
    for name, value in subject.model.state_dict().items():
        assert torch.equal(read.model.state_dict()[name], value)


def test_a_run_means_its_newest_checkpoint(commit, recipe):
    url = commit(recipe)
    assert find_checkpoint(url) == url
    assert find_checkpoint(url.rpartition("/checkpoints/")[0]) == url


def test_neither_run_nor_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no committed checkpoint"):
        find_checkpoint(str(tmp_path))


def test_a_torn_checkpoint_is_named_with_its_reason(commit, recipe):
    url = commit(recipe)
    run = url.rpartition("/checkpoints/")[0]
    with open(f"{url}/averaged.safetensors", "ab") as file:
        file.write(b"torn")
    with pytest.raises(CheckpointError, match=r"averaged\.safetensors has"):
        find_checkpoint(run)
    with pytest.raises(CheckpointError, match="cannot be used"):
        read_subject(url)


def test_the_recipe_is_read_without_the_weights(commit, recipe):
    url = commit(recipe)
    assert read_recipe(url) == recipe
    with open(f"{url}/state.json", "w") as file:
        file.write('{"recipe": {"run": {"name": 3}}}')
    with pytest.raises(CheckpointError, match="no recipe that this code knows"):
        read_recipe(url)


def test_weights_of_another_shape_are_refused(recipe):
    weights = JointModel(recipe).state_dict()
    name = next(iter(weights))
    weights[name] = weights[name][:1]
    with pytest.raises(CheckpointError, match="do not fit"):
        assemble_subject(recipe, weights, 0)


def test_an_autoencoder_alone_has_no_flow(recipe):
    alone = recipe.model_copy(
        update={"objective": recipe.objective.model_copy(update={"route": "autoencoder_only"})}
    )
    assert not assemble_subject(alone, JointModel(alone).state_dict(), 0).has_flow


def test_the_digest_is_of_weights_and_architecture_alone(recipe, subject):
    digest = subject_digest(subject)
    weights = dict(subject.model.state_dict())
    elsewhere = recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"shards": "elsewhere", "workers": 7})}
    )
    assert subject_digest(assemble_subject(elsewhere, weights, 1)) == digest
    posterior = recipe.autoencoder.posterior.model_copy(update={"std": 0.123})
    wider = recipe.autoencoder.model_copy(update={"posterior": posterior})
    other = assemble_subject(recipe.model_copy(update={"autoencoder": wider}), weights, 1)
    assert subject_digest(other) != digest
    name = sorted(weights)[-1]
    weights[name] = weights[name] + 1e-3
    assert subject_digest(assemble_subject(recipe, weights, 1)) != digest
