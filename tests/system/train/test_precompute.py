import filecmp
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
import webdataset

from data_pipeline.decoding.image_reader import ImageReader
from data_pipeline.features.feature_set import FeatureReader
from data_pipeline.features.feature_set import open_features
from data_pipeline.shards.manifest import parse_manifest
from data_pipeline.shards.manifest import read_manifest
from data_pipeline.stream.placement import normalised
from data_pipeline.tars.verification import Verification
from data_pipeline.tars.verification import verify
from system.foundation.config import record_from_mapping
from system.foundation.errors import DataError
from system.foundation.errors import RecipeError
from system.train.frozen import CPU
from system.train.frozen import build_frozen_autoencoder
from system.train.frozen import build_teacher
from system.train.precompute import Precompute
from system.train.precompute import as_stored
from system.train.precompute import precompute

KINDS = {"moments", "moments.mirrored", "teacher", "teacher.mirrored"}


def stored(url: str, recipe, samples: np.ndarray, turned: np.ndarray) -> dict[str, np.ndarray]:
    features = open_features(url, "train")
    arrays = features.empty(len(samples))
    assert FeatureReader(features, recipe.data).fill(samples, arrays, turned) == {}
    return arrays


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_features_are_what_the_networks_give_for_the_images(
    frozen, feature_set, is_mirrored, tmp_path
) -> None:
    recipe = frozen.recipe(tmp_path, aligned=True)
    samples = np.arange(16, 24)  # one pass of the computing, of which bits are the same
    pixels, _ = ImageReader(frozen.manifest.split("train"), recipe.data).read_many(samples)
    if is_mirrored:
        pixels = pixels[:, :, ::-1].copy()
    image = normalised(torch.from_numpy(pixels))
    autoencoder, teacher = build_frozen_autoencoder(recipe), build_teacher(recipe, CPU)
    with torch.no_grad():
        moments, tokens = autoencoder.moments(image).numpy(), teacher(image).numpy()
    found = stored(feature_set, recipe, samples, np.full(8, is_mirrored))
    assert np.array_equal(found["moments"], moments)
    assert np.array_equal(found["teacher"], tokens)
    other = stored(feature_set, recipe, samples, np.full(8, not is_mirrored))
    assert not np.array_equal(other["moments"], moments)
    alone = samples[3:4]  # another pass may sum in another order: its last bits are its own
    found = stored(feature_set, recipe, alone, np.full(1, is_mirrored))
    np.testing.assert_allclose(found["moments"], moments[3:4], rtol=1e-5, atol=1e-6)


def test_plain_webdataset_reads_members_beside_the_images(frozen, feature_set) -> None:
    names = [shard.name for shard in frozen.manifest.shards]
    for name in names:
        images, features = (
            list(webdataset.WebDataset(f"{url}/{name}", shardshuffle=False, empty_check=False))
            for url in (frozen.shards, feature_set)
        )
        assert [each["__key__"] for each in images] == [each["__key__"] for each in features]
        assert [each["cls"] for each in images] == [each["cls"] for each in features]
        member = safetensors.numpy.load(features[0]["features.safetensors"])
        assert member.keys() == KINDS
        assert member["moments"].shape == (4, 4, 4)
        assert member["teacher"].shape == (16, 16)


def test_shards_are_verified_and_damage_is_named(feature_set, tmp_path) -> None:
    copy = shutil.copytree(feature_set, tmp_path / "copy")
    assert verify(Verification(url=str(copy))).findings == ()
    manifest = parse_manifest(str(copy))
    shard = manifest.shards[1]
    place = copy / shard.name
    content = bytearray(place.read_bytes())
    content[int(shard.offsets[7]) + 400] ^= 1
    place.write_bytes(content)
    [finding] = verify(Verification(url=str(copy))).findings
    assert (finding.shard, finding.key) == (shard.name, shard.keys[7])


def same_files(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    return filecmp.cmpfiles(one, other, names, shallow=False) == (names, [], [])


def test_parts_and_a_computing_cut_short_write_the_same_bytes(
    frozen, feature_set, tmp_path
) -> None:
    recipe = frozen.recipe(tmp_path, aligned=True)
    out = tmp_path / "features"

    def part(number: str) -> Precompute:
        return frozen.computing(recipe, out, part=number, splits=["train", "held_out"])

    shards = len(frozen.manifest.shards)
    assert shards == 5

    class Killed(Exception):
        pass

    def kill(line: str) -> None:
        raise Killed(line)

    with pytest.raises(Killed):
        precompute(part("0/2"), kill)
    assert not (out / "manifest.parquet").exists()
    with pytest.raises(DataError, match=r"one whose last shards are missing.*precompute_features"):
        open_features(str(out), "train")
    (out / frozen.manifest.shards[2].name).write_bytes(b"half a shard")  # as others' tools leave it
    told = precompute(part("1/2"))
    assert (told.shards, told.missing) == (2, 2)
    lines: list[str] = []
    told = precompute(part("0/2"), lines.append)
    assert (len(lines), told.missing) == (2, 0), "what was done was not done again"
    assert same_files(out, Path(feature_set))
    again = precompute(part("0/1"))
    assert (again.images, again.missing) == (0, 0)
    (out / frozen.manifest.shards[3].name).unlink()
    assert precompute(part("0/1")).images == frozen.manifest.shards[3].samples
    assert same_files(out, Path(feature_set)), "a shard that was lost is made again"


def test_a_bad_image_keeps_its_number(frozen, tmp_path) -> None:
    images = shutil.copytree(frozen.shards, tmp_path / "images")
    shard = read_manifest(str(images)).split("train").shards[1]
    content = bytearray((images / shard.name).read_bytes())
    content[int(shard.offsets[7]) + 20] ^= 255
    (images / shard.name).write_bytes(content)
    data = {"shards": str(images), "max_bad_fraction": 0.01}
    recipe = frozen.recipe(tmp_path)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=data)})
    precompute(frozen.computing(recipe, tmp_path / "features"))
    features = open_features(str(tmp_path / "features"), "train")
    at = int(features.manifest.first[1]) + 7
    assert features.manifest.samples == frozen.manifest.split("train").samples
    assert features.manifest.key(at) == shard.keys[7]
    arrays, samples = features.empty(3), np.array([at - 1, at, at + 1])
    bad = FeatureReader(features, recipe.data).fill(samples, arrays, np.zeros(3, bool))
    assert bad == {1: "of its features: its image could not be used when features were computed"}
    none = recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"max_bad_fraction": 0.0})}
    )
    with pytest.raises(DataError, match=f"{shard.keys[7]} cannot be used"):
        precompute(frozen.computing(none, tmp_path / "others"))


def test_what_lies_at_the_place_already_is_left_alone(frozen, feature_set, tmp_path) -> None:
    recipe = frozen.recipe(tmp_path)
    with pytest.raises(DataError, match=r"no features\.json.*Nothing was changed"):
        precompute(frozen.computing(recipe, frozen.shards))
    with pytest.raises(DataError, match=r"already holds other features: images: .*Nothing was"):
        precompute(frozen.computing(recipe, feature_set))


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"objective": {"route": "joint"}}, "nothing frozen to compute once"),
        ({"data": {"crop": "random_resized"}}, "random_resized shows another part"),
    ],
)
def test_what_is_not_frozen_is_refused(frozen, tmp_path, sections, said) -> None:
    recipe = frozen.recipe(tmp_path, **sections)
    with pytest.raises(RecipeError, match=said):
        frozen.computing(recipe, tmp_path / "features")
    with pytest.raises(RecipeError, match=said):
        frozen.with_features(recipe, tmp_path / "features")


def test_numbers_that_do_not_fit_are_refused() -> None:
    values = np.array([[1.0, 70000.0]], np.float32)
    assert np.array_equal(as_stored("teacher", values, "float32"), values)
    with pytest.raises(
        DataError, match=r"70000, .* not finite as float16. Set precompute\.teacher"
    ):
        as_stored("teacher", values, "float16")
    with pytest.raises(DataError, match="look at the weights"):
        as_stored("moments", values * np.float32(np.inf), "float32")


def test_requests_that_make_no_sense(frozen, tmp_path) -> None:
    recipe = frozen.recipe(tmp_path)
    with pytest.raises(RecipeError, match="numbered"):
        frozen.computing(recipe, tmp_path, part="4/4")
    with pytest.raises(RecipeError, match=r"data\.features is null"):
        precompute(record_from_mapping(recipe.model_dump(mode="json"), Precompute))
