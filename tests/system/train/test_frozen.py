import re
import shutil
from pathlib import Path

import pytest
import torch

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.sources.source import Digits
from data_pipeline.stream.loader import open_stream
from system.foundation.errors import DataError
from system.foundation.recipe import Recipe
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.train.assemble import assemble
from system.train.changes import frozen_changes
from system.train.frozen import CPU
from system.train.frozen import build_frozen_networks
from system.train.frozen import fitting_features
from system.train.loop import open_training_stream
from system.train.precompute import precompute
from system.train.update import update
from tests.system.train.trials import run_loop

KINDS = {"moments": "float32", "teacher": "float32"}


def changed(recipe: Recipe, section: str, **keys: object) -> Recipe:
    part = getattr(recipe, section).model_copy(update=keys)
    return recipe.model_copy(update={section: part})


@pytest.mark.parametrize(
    ("stage", "precision", "workers"), [(2, "fp32", 0), (2, "fp32", 2), (3, "bf16", 0)]
)
def test_a_run_on_stored_features_is_the_run_that_computes_them(
    frozen, feature_set, tmp_path, stage, precision, workers
) -> None:
    recipe = frozen.recipe(
        tmp_path / "asked", aligned=True, engine={"zero_stage": stage, "precision": precision}
    )
    url: str | Path = feature_set
    if precision == "bf16":
        url = tmp_path / "features"  # the encoder computes in other arithmetic
        precompute(frozen.computing(recipe, url))
    asked, _ = run_loop(World(), recipe)
    reading = changed(frozen.with_features(recipe, url), "data", workers=workers)
    read, _ = run_loop(World(), changed(reading, "run", root=str(tmp_path / "read")))
    for images, values in asked.values.items():
        for name in ("loss/total", "loss/nll_nats", "loss/alignment", "latent/mean_std"):
            # The same passes of as many images, but of others: their last bits may differ.
            assert read.values[images][name] == pytest.approx(values[name], rel=1e-5), name
    for name, weight in asked.weights.items():
        # Adam makes of a tiny difference in a tiny gradient one of the learning rate.
        torch.testing.assert_close(read.weights[name], weight, atol=2e-4, rtol=1e-3)


def test_the_frozen_networks_make_no_pass(frozen, feature_set, tmp_path) -> None:
    recipe = frozen.recipe(tmp_path, aligned=True)
    passes = []
    for each in (recipe, frozen.with_features(recipe, feature_set)):
        state = assemble(each, World(), frozen.manifest)
        encoder = state.engine.module.autoencoder.encoder
        encoder.register_forward_hook(lambda *_, at=each: passes.append(at.data.features))
        with Ledger(str(tmp_path / "run"), "worker-0", run="tiny") as ledger:
            update(state, open_training_stream(state, ledger))
        assert (state.teacher is None) == (each.data.features is not None)
        state.close()
    assert passes == [None]


def test_mirrored_rows_have_mirrored_features(frozen, feature_set, tmp_path) -> None:
    recipe = frozen.with_features(frozen.recipe(tmp_path, aligned=True), feature_set)
    networks = build_frozen_networks(recipe, CPU, KINDS)
    features = fitting_features(recipe, frozen.manifest.split("train"), networks.autoencoder)

    def batch(data):
        stream = open_stream(
            frozen.manifest.split("train"),
            data,
            seed=3,
            world=World(),
            global_batch=40,
            micro_batch=40,
            images_seen=120,
            features=features,
        )
        found, _ = next(stream)
        stream.close()
        return found

    turned = batch(recipe.data)
    straight = batch(recipe.data.model_copy(update={"flip": False}))
    mirrored = [not torch.equal(*pair) for pair in zip(turned.image, straight.image, strict=True)]
    assert 5 < sum(mirrored) < 35
    for name, wanted in networks.features_of(turned.image).items():
        # A pass of 40 images sums in another order than the one of 8 that was stored.
        torch.testing.assert_close(turned.features[name], wanted, rtol=1e-4, atol=1e-5)
        differs = (turned.features[name] != straight.features[name]).flatten(1).any(1)
        assert differs.tolist() == mirrored


def refusal(recipe: Recipe, manifest) -> str:
    with pytest.raises(DataError) as refused:
        assemble(recipe, World(), manifest)
    return str(refused.value)


def test_other_images_and_another_crop_are_told_at_once(frozen, feature_set, tmp_path) -> None:
    others = str(tmp_path / "others")
    pack(PackRecipe(source=Digits(), out=others, channels=1, held_out_fraction=0.1))
    recipe = frozen.with_features(frozen.recipe(tmp_path, aligned=True), feature_set)
    said = refusal(changed(recipe, "data", crop="centre", shards=others), read_manifest(others))
    assert "crop: none there, centre wanted" in said
    assert re.search(r"images of split train: \w{32} there, \w{32} wanted", said)
    assert "digest" not in said, "the networks are the same"
    assert "Compute them with `python jobs/precompute_features.py`" in said


def test_other_weights_are_refused(frozen, feature_set, tmp_path) -> None:
    recipe = frozen.recipe(tmp_path, run={"name": "second", "seed": 5})
    joint = changed(recipe, "objective", route="joint")
    fresh = changed(joint, "autoencoder", weights=None)
    run_loop(World(), changed(fresh, "run", total_images=16, checkpoint_every_images=16))
    moved = changed(recipe, "autoencoder", weights=str(tmp_path / "second"))
    said = refusal(frozen.with_features(moved, feature_set), frozen.manifest)
    assert re.search(r"moments: of weights with digest \w{32} there, \w{32} wanted", said)


def test_another_teacher_is_refused(frozen, feature_set, tmp_path) -> None:
    recipe = frozen.with_features(frozen.recipe(tmp_path, aligned=True), feature_set)
    teacher = recipe.objective.alignment.teacher.model_copy(update={"image_size": 16})
    alignment = recipe.objective.alignment.model_copy(update={"teacher": teacher})
    said = refusal(changed(recipe, "objective", alignment=alignment), frozen.manifest)
    assert re.search(r"teacher: of weights with digest \w{32} there, \w{32} wanted", said)
    assert "moments" not in said


def test_what_a_set_lacks_is_named(frozen, tmp_path) -> None:
    straight = frozen.recipe(tmp_path, data={"flip": False})
    precompute(frozen.computing(straight, tmp_path / "features"))
    recipe = frozen.with_features(frozen.recipe(tmp_path, aligned=True), tmp_path / "features")
    said = refusal(recipe, frozen.manifest)
    assert "mirrored images: not looked at, but data.flip is true" in said
    assert "teacher: not among its features" in said
    images = frozen.with_features(straight, frozen.shards)
    assert "its manifest is not one of features" in refusal(images, frozen.manifest)


def test_features_that_cannot_be_read_make_a_bad_sample(frozen, feature_set, tmp_path) -> None:
    copy = shutil.copytree(feature_set, tmp_path / "copy")
    shard = parse_manifest(str(copy)).shards[0]
    content = bytearray((copy / shard.name).read_bytes())
    content[int(shard.offsets[7]) + 400] ^= 1
    (copy / shard.name).write_bytes(content)
    recipe = frozen.with_features(frozen.recipe(tmp_path), copy)
    recipe = changed(recipe, "data", max_bad_fraction=0.01)
    state = assemble(recipe, World(), frozen.manifest)
    heard = []
    stream = open_stream(
        state.manifest,
        recipe.data,
        seed=0,
        world=World(),
        global_batch=state.manifest.samples,
        micro_batch=state.manifest.samples,
        images_seen=0,
        features=state.features,
        on_bad_sample=heard.append,
    )
    next(stream)
    state.close()
    [entry] = heard
    assert entry.key == shard.keys[7]
    assert entry.reason == "of its features: bytes differ from those packed"
    assert str(copy) in entry.place


def test_a_run_may_go_on_with_features_or_without(frozen, feature_set, tmp_path) -> None:
    recipe = frozen.recipe(tmp_path)
    assert frozen_changes(recipe, frozen.with_features(recipe, feature_set)) == []
