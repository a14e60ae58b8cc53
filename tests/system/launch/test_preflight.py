"""Bad input is found before anything starts, with one clear message, and nothing is harmed."""

import json
from pathlib import Path

import pytest

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import name_of
from system.engine.checkpoints import upload
from system.foundation import storage
from system.foundation.config import record_from_mapping
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.errors import ClusterError
from system.foundation.errors import DataError
from system.foundation.settings.data import Selection
from system.foundation.settings.objective import FeatureAlignment
from system.foundation.settings.objective import Lpips
from system.foundation.settings.objective import Teacher
from system.launch import preflight
from system.launch.driver import prepare
from system.launch.preflight import Resources
from system.train.precompute import Precompute
from system.train.precompute import precompute
from tests.system.alignment.teachers import write_teacher

DIGITS = Path(__file__).parents[3] / "configs" / "simflow_digits.yaml"


def changed(recipe, section, **values):
    part = getattr(recipe, section).model_copy(update=values)
    return recipe.model_copy(update={section: part})


@pytest.mark.parametrize(
    ("folder", "root", "refused"),
    [
        ("/home/me/tree", "runs", None),
        ("/tmp/ray/runtime_resources/working_dir_files/_ray_pkg_1", "runs", "run.root"),
        ("/tmp/ray/runtime_resources/working_dir_files/_ray_pkg_1", "/data/runs", "data.shards"),
        ("/tmp/ray/runtime_resources/working_dir_files/_ray_pkg_1", "s3://b/runs", "data.shards"),
    ],
)
def test_relative_places_inside_a_submitted_copy(recipe, folder, root, refused):
    recipe = changed(changed(recipe, "run", root=root), "data", shards="shards/digits")
    if refused is None:
        preflight.check_places(recipe, Path(folder))
        return
    with pytest.raises(BadInput, match=f"{refused} is '.*', a relative path"):
        preflight.check_places(recipe, Path(folder))


@pytest.mark.parametrize(
    "key", ["autoencoder.weights", "flow.weights", "objective.perceptual.trunk"]
)
def test_relative_weights_inside_a_submitted_copy(recipe, key):
    folder = Path("/tmp/ray/runtime_resources/working_dir_files/_ray_pkg_1")
    section, _, name = key.partition(".")
    if name == "weights":
        recipe = changed(recipe, section, weights="runs/first")
    else:
        recipe = changed(recipe, "objective", perceptual=Lpips(trunk="vgg.pth"))
    preflight.check_places(recipe, Path("/home/me/tree"))
    with pytest.raises(BadInput, match=f"{key} is '.*', a relative path"):
        preflight.check_places(recipe, folder)


@pytest.mark.parametrize("root", ["memory://runs", "simplecache::memory://runs"])
def test_a_run_does_not_live_in_memory(recipe, root):
    with pytest.raises(BadInput, match=r"run\.root is .* do not see this one's memory"):
        preflight.check_places(changed(recipe, "run", root=root), Path("/home/me/tree"))
    preflight.check_places(changed(recipe, "run", root="/memory/runs"), Path("/home/me/tree"))


def test_weights_to_start_from_are_committed(recipe, run_with_checkpoint, tmp_path):
    preflight.check_inputs(recipe)
    preflight.check_inputs(changed(recipe, "autoencoder", weights=run_with_checkpoint))
    with pytest.raises(CheckpointError, match=r"autoencoder\.weights: .*no committed checkpoint"):
        preflight.check_inputs(changed(recipe, "autoencoder", weights=str(tmp_path / "absent")))
    (checkpoint,) = Path(run_with_checkpoint, "checkpoints").iterdir()
    whole = changed(recipe, "autoencoder", weights=str(checkpoint))
    preflight.check_inputs(whole)
    next(checkpoint.glob("COMMITTED*")).unlink()
    with pytest.raises(CheckpointError, match=r"autoencoder\.weights: .* cannot be used"):
        preflight.check_inputs(whole)


def test_the_trunk_is_looked_into(recipe, tmp_path):
    (tmp_path / "vgg.pth").write_bytes(b"hello")
    for name, said in (("absent.pth", "no file at"), ("vgg.pth", "is no file of torch's weights")):
        perceptual = Lpips(trunk=str(tmp_path / name))
        with pytest.raises(BadInput, match=rf"objective\.perceptual\.trunk: .*{said}"):
            preflight.check_inputs(changed(recipe, "objective", perceptual=perceptual))


def test_the_teacher_is_looked_at(recipe, tmp_path):
    (tmp_path / "teacher.pth").write_bytes(b"hello")
    for name, said in (("absent.pth", "no file at"), ("teacher.pth", "is no file of weights")):
        given = FeatureAlignment(teacher=Teacher(weights=str(tmp_path / name)), places=((-1, 1),))
        aligned = changed(recipe, "objective", alignment=given)
        with pytest.raises(BadInput, match=rf"objective\.alignment\.teacher\.weights: .*{said}"):
            preflight.check_inputs(aligned)
        absolute = preflight.places(aligned)["objective.alignment.teacher.weights"]
        assert absolute == str(tmp_path / name)


def test_features_are_of_the_recipe(recipe, tmp_path):
    preflight.check_features(recipe, preflight.check_data(recipe))
    values = recipe.model_dump(mode="json")
    teacher, _ = write_teacher(str(tmp_path / "teacher.safetensors"))
    alignment = FeatureAlignment(teacher=teacher, places=((-1, 1),), head_width=16)
    values["objective"]["alignment"] = alignment.model_dump(mode="json")
    values["data"]["features"] = str(tmp_path / "features")
    aligned = record_from_mapping(values, Precompute)
    assert preflight.places(aligned)["data.features"] == values["data"]["features"]
    manifest = preflight.check_data(aligned)
    with pytest.raises(DataError, match="there is no feature set"):
        preflight.check_features(aligned, manifest)
    precompute(aligned)
    preflight.check_features(aligned, manifest)
    with pytest.raises(DataError, match="crop: none there, centre wanted"):
        preflight.check_features(changed(aligned, "data", crop="centre"), manifest)


def test_a_store_that_does_not_answer_is_bad_input(recipe, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(BadInput, match=r"s3://bucket/runs/.* Nothing was started\. Check"):
        prepare(changed(recipe, "run", root="s3://bucket/runs"))


def test_every_path_becomes_absolute(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = changed(changed(recipe, "run", root="runs"), "data", shards="s3://b/digits")
    recipe = changed(recipe, "autoencoder", weights="runs/first")
    placed = preflight.with_absolute_paths(recipe)
    assert placed.run.root == f"{tmp_path}/runs"
    assert placed.data.shards == "s3://b/digits"
    assert placed.autoencoder.weights == f"{tmp_path}/runs/first"
    assert preflight.run_url(placed) == f"{tmp_path}/runs/tiny"


@pytest.mark.parametrize(
    ("cpus", "gpus", "uses_gpus", "settings", "refused"),
    [
        (3.0, 0.0, False, {}, None),
        (2.0, 0.0, False, {}, "has 2 CPUs; 2 workers need 2 and the evaluation 1"),
        (2.0, 0.0, False, {"evaluation_cpus": 0}, None),
        (1.0, 0.0, False, {"evaluation_cpus": 0}, "has 1 CPUs"),
        (2.0, 0.0, False, {"min_workers": 1}, None),
        (9.0, 2.0, True, {}, None),
        (9.0, 2.0, True, {"evaluation_gpus": 0.5}, "has 2 GPUs"),
        (9.0, 1.0, True, {}, "has 1 GPUs"),
        (0.0, 0.0, True, {"capacity": "on_demand"}, None),
    ],
)
def test_cluster_size(recipe, cpus, gpus, uses_gpus, settings, refused):
    recipe = changed(recipe, "cluster", **settings)
    if refused is None:
        preflight.check_cluster(recipe, Resources(cpus, gpus), uses_gpus=uses_gpus)
        return
    with pytest.raises(ClusterError, match=refused):
        preflight.check_cluster(recipe, Resources(cpus, gpus), uses_gpus=uses_gpus)


@pytest.mark.parametrize(
    ("wanted", "gpus", "device"),
    [("auto", 0.0, "cpu"), ("auto", 1.0, "cpu"), ("auto", 2.0, "cuda"), ("cpu", 8.0, "cpu"),
     ("cuda", 2.0, "cuda"), ("cuda", 0.0, None)],
)  # fmt: skip
def test_device(recipe, wanted, gpus, device):
    recipe = changed(recipe, "cluster", device=wanted)
    if device is None:
        with pytest.raises(ClusterError, match="has no GPU"):
            preflight.check_device(recipe, Resources(4.0, gpus))
        return
    assert preflight.check_device(recipe, Resources(4.0, gpus)) == device


def test_what_a_cluster_will_have_is_for_the_recipe_to_say(recipe):
    growing = changed(recipe, "cluster", capacity="on_demand", device="cuda")
    assert preflight.check_device(growing, Resources(4.0, 0.0)) == "cuda"
    with pytest.raises(ClusterError, match="nobody knows yet"):
        preflight.check_device(changed(growing, "cluster", device="auto"), Resources(4.0, 0.0))


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("data", {"shards": "/nowhere/at/all"}, "no such manifest"),
        ("data", {"image_channels": 3}, "channels: shards 1, data.image_channels 3"),
        ("data", {"classes": 7}, "classes: shards 10, data.classes 7"),
        ("data", {"image_size": 16}, "size: shards hold 8x8"),
    ],
)
def test_data(recipe, section, values, message):
    with pytest.raises(DataError, match=message):
        preflight.check_data(changed(recipe, section, **values))


def test_data_that_fits(recipe):
    assert preflight.check_data(recipe).samples == 1797


def test_space(recipe, tmp_path):
    size = preflight.checkpoint_bytes(recipe)
    assert 50_000 < size < 5_000_000
    preflight.check_space(str(tmp_path / "run"), size, kept=3)
    preflight.check_space("memory://run", size, kept=3)
    with pytest.raises(BadInput, match=r"MiB free; 5 checkpoints of .* need .* MiB"):
        preflight.check_space(str(tmp_path / "run"), 2**50, kept=3)


def test_writable(tmp_path):
    preflight.check_writable(str(tmp_path / "runs" / "run"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there" / "logs").mkdir(parents=True)
    preflight.check_writable(str(tmp_path / "there"))
    assert list((tmp_path / "there" / "logs").iterdir()) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match="cannot be written"):
        preflight.check_writable(str(tmp_path / "file" / "run"))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def run_with_checkpoint(recipe, tmp_path):
    """A run's folder with a committed checkpoint at 512 images, as far as a check looks into it."""
    digest = read_manifest(recipe.data.shards).split("train").digest
    state = {
        "recipe": recipe.model_dump(mode="json"), "manifest_digest": digest, "world_size": 2,
        "manifest": {},
        "images_seen": 512,
    }  # fmt: skip
    local, url = tmp_path / "local", str(tmp_path / "run")
    local.mkdir()
    (local / "state.json").write_text(json.dumps(state))
    upload(local, storage.join(url, "checkpoints", name_of(512, 1)), 0, 1)
    return url


def test_a_checkpoint_to_go_on_from(recipe, run_with_checkpoint, tmp_path):
    manifest = preflight.check_data(recipe)
    assert preflight.check_checkpoint(recipe, manifest, str(tmp_path / "other")) is None
    found = preflight.check_checkpoint(recipe, manifest, run_with_checkpoint)
    assert found.images_seen == 512
    longer = changed(recipe, "run", total_images=10**6)
    assert preflight.check_checkpoint(longer, manifest, run_with_checkpoint).images_seen == 512
    fewer = changed(recipe, "cluster", workers=1)
    assert preflight.check_checkpoint(fewer, manifest, run_with_checkpoint).images_seen == 512


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("flow", {"width": 32}, "flow.width: 16 before, 32 now"),
        ("autoencoder", {"width": 16}, "autoencoder.width: 8 before, 16 now"),
        ("run", {"seed": 4}, "run.seed: 0 before, 4 now"),
    ],
)
def test_a_checkpoint_of_another_shape(recipe, run_with_checkpoint, section, values, message):
    manifest = preflight.check_data(recipe)
    before = sorted(Path(run_with_checkpoint).rglob("*"))
    with pytest.raises(CheckpointError, match=message) as refused:
        preflight.check_checkpoint(
            changed(recipe, section, **values), manifest, run_with_checkpoint
        )
    assert "run.name=" in str(refused.value)
    assert sorted(Path(run_with_checkpoint).rglob("*")) == before


def test_a_selection_that_leaves_nothing_is_told_before_anything_starts(recipe):
    with pytest.raises(DataError, match=r"classes names \[10\]"):
        preflight.check_data(changed(recipe, "data", selection=Selection(classes=(10,))))


def test_a_checkpoint_of_other_images(recipe, run_with_checkpoint):
    manifest = preflight.check_data(recipe).split("held_out")
    other = manifest.__class__(
        manifest.url,
        tuple(shard.__class__(**{**vars_of(shard), "split": "train"}) for shard in manifest.shards),
        manifest.channels,
        manifest.class_names,
        manifest.image_size,
    )
    with pytest.raises(CheckpointError, match=r"is not what it was: .* shards added"):
        preflight.check_checkpoint(recipe, other, run_with_checkpoint)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hush-hush@host/x",
        "filecache::sftp://me:hush-hush@host/x",
        "https://host/x?sig=hush-hush",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(recipe, url):
    run = recipe.run.model_copy(update={"root": url})
    with pytest.raises(BadInput, match=r"run\.root is a url with a") as refused:
        preflight.check_places(recipe.model_copy(update={"run": run}), Path.cwd())
    assert "hush-hush" not in str(refused.value)
    named = recipe.run.model_copy(update={"root": "sftp://me@host/x"})
    preflight.check_places(recipe.model_copy(update={"run": named}), Path.cwd())


def vars_of(record):
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run.total_imags=5"], 2, "run.total_images"),
        (["data.shards=/nowhere/at/all"], 4, "no such manifest"),
        (["cluster.workers=64"], 2, "cluster error: the cluster has"),
        (["autoencoder.weights=/nowhere/at/all"], 2, "autoencoder.weights: checkpoint=/nowhere"),
        (["run.root=memory://runs"], 2, "run.root is 'memory://runs'"),
    ],
)
def test_the_program_says_so_and_leaves_with_its_code(
    program, tiny, tmp_path, arguments, code, said
):
    job = program("jobs/simflow_digits.py", *tiny, f"run.root={tmp_path / 'runs'}", *arguments)
    output, _ = job.communicate(timeout=200)
    assert job.returncode == code, output
    assert said in output
    assert "Traceback" not in output
    assert not (tmp_path / "runs").exists()
