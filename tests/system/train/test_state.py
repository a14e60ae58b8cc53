import json
import shutil

import pytest
import safetensors.torch
import torch

from data_pipeline.shards.manifest import read_manifest
from system.foundation.config import recipe_digest
from system.foundation.errors import CheckpointError
from system.foundation.versions import versions
from system.foundation.world import World
from system.train.assemble import assemble
from system.train.state import TOLD
from system.train.state import Progress
from system.train.state import cut
from tests.system.train.trials import adversarial


@pytest.fixture
def saved(recipe, tmp_path):
    """A state and the folder it was saved to."""
    made = recipe()
    state = assemble(made, World(), read_manifest(made.data.shards), attempt=3)
    state.progress = Progress(images_seen=40, updates=4, skipped_updates=1)
    state.save(tmp_path / "saved")
    return state, tmp_path / "saved"


def test_what_is_saved_says_where_it_is_from(saved) -> None:
    state, folder = saved
    content = json.loads((folder / "state.json").read_text())
    assert content["images_seen"] == 40
    assert content["attempt"] == 3
    assert content["world_size"] == 1
    assert content["manifest_digest"] == state.manifest.digest
    assert content["recipe"] == state.recipe.model_dump(mode="json")
    # The cursor is images_seen with these two; see `nouns.Cursor`.
    assert content["seed"] == state.recipe.run.seed
    assert content["zero_stage"] == state.recipe.engine.zero_stage
    assert content["micro_batch"] == state.micro_batch
    assert content["recipe_digest"] == recipe_digest(state.recipe)
    assert content["versions"] == versions()
    weights = safetensors.torch.load_file(folder / "averaged.safetensors")
    assert weights.keys() == state.engine.module.state_dict().keys()


def test_every_average_is_a_file_of_its_own(recipe, tmp_path) -> None:
    made = recipe(engine={"averaging_decay": 0.9, "further_decays": [0.5]})
    assemble(made, World(), read_manifest(made.data.shards)).save(tmp_path)
    names = sorted(path.name for path in tmp_path.glob("averaged*"))
    assert names == ["averaged-0.5.safetensors", "averaged.safetensors"]


def test_progress_is_taken_up(saved) -> None:
    state, folder = saved
    other = assemble(state.recipe, World(), read_manifest(state.manifest.url))
    other.restore(folder)
    assert other.progress == Progress(images_seen=40, updates=4, skipped_updates=1)


def test_a_checkpoint_that_tells_less_is_as_good(saved) -> None:
    state, folder = saved
    place = folder / "state.json"
    content = json.loads(place.read_text())
    place.write_text(json.dumps({name: content[name] for name in content.keys() - TOLD}))
    assert len(content.keys() & TOLD) == 4
    state.restore(folder)
    assert (state.progress.images_seen, state.began) == (40, 40)


def changed(folder, **values) -> None:
    place = folder / "state.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | values))


def test_another_model_is_refused_by_key(saved, recipe) -> None:
    state, folder = saved
    wider = recipe(flow={"width": 32, "depths": [1, 1], "head_width": 8})
    changed(folder, recipe=wider.model_dump(mode="json"))
    with pytest.raises(CheckpointError, match=r"flow\.width: 32 before, 16 now"):
        state.restore(folder)


def test_other_data_are_refused(saved) -> None:
    state, folder = saved
    changed(folder, manifest_digest="other")
    with pytest.raises(CheckpointError, match="is not what it was: another digest"):
        state.restore(folder)


def test_a_state_that_lacks_numbers_is_refused(saved) -> None:
    state, folder = saved
    (folder / "state.json").write_text('{"images_seen": 1}')
    with pytest.raises(CheckpointError, match=r"lacks attempt, manifest, manifest_digest"):
        state.restore(folder)


@pytest.mark.parametrize(
    ("workers", "micro_batch", "size", "expected"),
    [
        (1, None, 1, (8, 1)),
        (2, None, 2, (4, 1)),
        (2, 2, 2, (2, 2)),
        (2, 4, 1, (4, 2)),
        (2, 4, 8, (1, 1)),
    ],
)
def test_the_batch_is_cut_over_workers_and_passes(
    recipe, workers, micro_batch, size, expected
) -> None:
    made = recipe(cluster={"workers": workers, "micro_batch": micro_batch})
    assert cut(made, World(0, size)) == expected


def test_a_run_goes_on_with_a_change_that_it_was_allowed(saved) -> None:
    state, folder = saved
    run = state.recipe.run.model_copy(update={"seed": 7, "allow_changes": ("run.seed",)})
    other = assemble(
        state.recipe.model_copy(update={"run": run}), World(), read_manifest(state.manifest.url)
    )
    other.restore(folder)
    assert other.progress.images_seen == 40


def test_a_changed_window_is_refused_on_restoring(saved) -> None:
    state, folder = saved
    data = state.recipe.data.model_copy(update={"window_shards": 3})
    changed(folder, recipe=state.recipe.model_copy(update={"data": data}).model_dump(mode="json"))
    with pytest.raises(CheckpointError, match=r"data\.window_shards: 3 before, 8 now"):
        state.restore(folder)


@pytest.mark.parametrize(
    "case", [(0, "fp32"), (1, "fp32"), (2, "bf16"), (3, "fp32")], ids=lambda c: f"zero{c[0]}-{c[1]}"
)
def test_one_worker_takes_up_what_two_have_saved(trials, digits, tmp_path, case) -> None:
    ended, saved = trials[0].cut[case]
    recipe = adversarial(digits.url, tmp_path, *case)
    state = assemble(recipe, World(), read_manifest(digits.url))
    assert state.restore(saved) == []
    assert state.progress == Progress(images_seen=16, updates=2)
    parts = (
        (ended.weights, state.engine.weights()),
        (ended.averages, state.engine.averaged()),
        (ended.critic, state.critic.weights()),
    )
    for expected, found in parts:
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    state.close()


def test_a_state_that_is_another_on_fewer_workers_is_refused(trials, digits, tmp_path) -> None:
    folder = tmp_path / "saved"
    shutil.copytree(trials[0].cut[2, "fp32"][1], folder)
    whole = safetensors.torch.load_file(folder / "averaged.safetensors")
    name = sorted(whole)[0]
    whole[name].view(-1)[0] += 1
    safetensors.torch.save_file(whole, folder / "averaged.safetensors")
    recipe = adversarial(digits.url, tmp_path, 2, "fp32")
    state = assemble(recipe, World(), read_manifest(digits.url))
    with pytest.raises(CheckpointError, match=rf"2 workers saved .* of {name} differ"):
        state.restore(folder)


def test_shards_that_changed_are_named_unless_the_run_goes_on_with_them(saved) -> None:
    state, folder = saved
    before = state.manifest.heads()
    shards = dict(before["shards"])
    name, (split, samples, _, rows) = next(iter(shards.items()))
    shards[name] = [split, samples, "0" * 32, rows]
    shards["train-000099.tar"] = ["train", 5, "0" * 32, "0" * 32]
    changed(folder, manifest_digest="0" * 32, manifest=before | {"shards": shards})
    with pytest.raises(CheckpointError) as error:
        state.restore(folder)
    for part in ("1 shard gone: train-000099.tar", f"1 shard changed: {name}", "=continue"):
        assert part in str(error.value)
    data = state.recipe.data.model_copy(update={"on_changed_manifest": "continue"})
    recipe = state.recipe.model_copy(update={"data": data})
    other = assemble(recipe, World(), read_manifest(state.manifest.url))
    assert len(other.restore(folder)) == 2
    assert other.progress.images_seen == 40
