"""What the driver decides before Ray: what is done, what Ray's list is worth, what Ray is told."""

import json

import pytest
import ray
from ray.train.v2._internal import constants

from system.foundation import storage
from system.foundation.errors import StorageError
from system.foundation.settings.evaluation import NoEvaluation
from system.launch.assignment import Assignment
from system.launch.driver import RAY_LIST
from system.launch.driver import Plan
from system.launch.driver import _news
from system.launch.driver import _ray_settings
from system.launch.driver import _Thread
from system.launch.driver import check_cluster
from system.launch.driver import done_line
from system.launch.driver import finished_images
from system.launch.driver import prepare
from system.launch.driver import set_aside_unusable_list
from system.launch.driver import trainer
from system.launch.heap import VALUE
from system.launch.heap import VARIABLE
from system.launch.preflight import Resources
from system.launch.worker import next_attempt
from system.telemetry.ledger import Follower
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger


def finish(url, images):
    with Ledger(url, "driver", run="r", attempt=1) as ledger:
        ledger.write("attempt_started")
        ledger.write("run_finished", images_seen=images, seconds=61.0)


def test_a_new_run_has_everything_before_it(recipe):
    plan = prepare(recipe)
    assert plan.images_seen == 0
    assert not plan.is_done
    assert plan.url == f"{recipe.run.root}/tiny"


@pytest.mark.parametrize(
    ("seen", "finished", "done"),
    [(2048, 2048, True), (2048, None, False), (1024, 2048, False), (2048, 1024, False)],
)
def test_done_is_what_was_trained_and_declared(recipe, tmp_path, seen, finished, done):
    url = str(tmp_path / "run")
    if finished:
        finish(url, finished)
    assert finished_images(url) == (finished or 0)
    assert Plan(recipe, url, seen).is_done is done


def test_what_is_said_of_a_run_that_is_done(recipe, tmp_path):
    url = str(tmp_path / "run")
    finish(url, 2048)
    said = done_line(Plan(recipe, url, 2048))
    assert "run 'tiny' is done: 2,048 images in 1:01" in said
    assert url in said
    assert "run.total_images" in said


def test_attempts_are_counted_in_the_ledger(tmp_path):
    assert next_attempt(read_ledger(str(tmp_path))) == 1
    finish(str(tmp_path), 1)
    assert next_attempt(read_ledger(str(tmp_path))) == 2


def listing(*names, version=ray.__version__):
    results = [{"checkpoint_dir_name": name} for name in names]
    return json.dumps({"ray_version": version, "checkpoint_results": results}).encode()


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (None, True),
        (listing(), True),
        (listing("000000000064-1"), True),
        (listing("000000000128-1"), False),
        (listing(version="1.0"), False),
        (b'{"ray_version": "2', False),
        (b"[]", False),
    ],
    ids=["none", "empty", "there", "gone", "version", "torn", "other"],
)
def test_a_list_that_ray_would_stumble_over_is_set_aside(tmp_path, content, kept):
    folder = tmp_path / "checkpoints"
    storage.write_bytes(str(folder / "000000000064-1" / "state.json"), b"{}")
    if content is not None:
        (folder / RAY_LIST).write_bytes(content)
    set_aside_unusable_list(str(tmp_path))
    aside = [path for path in folder.iterdir() if "set-aside" in path.name]
    assert (folder / RAY_LIST).exists() == (kept and content is not None)
    assert [path.read_bytes() for path in aside] == ([] if kept else [content])


def test_ray_is_told_what_the_recipe_says(recipe, tmp_path):
    made = trainer(Plan(recipe, str(tmp_path), 0))
    assert made.scaling_config.num_workers == 2
    assert not made.scaling_config.use_gpu
    assert made.backend_config.backend == "gloo"
    assert made.run_config.name == "checkpoints"
    assert made.run_config.storage_path == str(tmp_path)
    assert made.run_config.worker_runtime_env == {"env_vars": {VARIABLE: VALUE}}
    assert made.run_config.failure_config.max_failures == -1
    assert made.run_config.failure_config.max_preemption_failures == -1
    assert made.run_config.checkpoint_config.num_to_keep is None
    # What Ray starts and waits for only watches; see evaluation/task.py.
    assert made.validation_config.task_config.timeout_s > 900
    assert made.validation_config.ray_remote_kwargs["num_cpus"] == 0
    assert Assignment.from_mapping(made.train_loop_config).recipe == recipe


def test_on_gpus_and_without_evaluation(recipe, tmp_path):
    silent = recipe.model_copy(update={"evaluation": NoEvaluation()})
    plan = check_cluster(Plan(silent, str(tmp_path), 0), Resources(4.0, 2.0))
    assert plan.device == "cuda"
    made = trainer(plan)
    assert made.backend_config.backend == "nccl"
    assert made.run_config.worker_runtime_env == {"env_vars": {}}
    assert made.scaling_config.resources_per_worker == {"CPU": 1, "GPU": 1.0}
    assert made.validation_config is None


def test_ray_looks_for_hangs_of_nccl_where_there_is_nccl(recipe):
    on_gpus = _ray_settings(recipe, "cuda")
    assert on_gpus["RAY_TRAIN_ENABLE_NCCL_HANG_DETECTOR"] == "1"
    assert on_gpus["RAY_TRAIN_NCCL_RAS_ACTION"] == "fail"
    assert on_gpus["RAY_TRAIN_NCCL_RAS_CONFIRM_DURATION_S"] == "3600.0"
    hangs = recipe.guards.hangs.model_copy(update={"on_hang": "ignore"})
    off = recipe.model_copy(update={"guards": recipe.guards.model_copy(update={"hangs": hangs})})
    names = {name for name in on_gpus if "NCCL" in name}
    for without in (_ray_settings(recipe, "cpu"), _ray_settings(off, "cuda")):
        assert names.isdisjoint(without)
    known = {each for each in vars(constants).values() if isinstance(each, str)}
    assert names <= known, "as this Ray calls them"


def test_what_fit_raises_is_raised_in_the_main_thread():
    def fail():
        raise ValueError("from the thread")

    thread = _Thread(fail)
    while not thread.join(0.05):
        pass
    with pytest.raises(ValueError, match="from the thread"):
        thread.raise_error()
    well = _Thread(lambda: None)
    while not well.join(0.05):
        pass
    well.raise_error()


def test_a_store_that_is_down_for_a_while_is_no_end_but_no_news(tmp_path, monkeypatch, caplog):
    follower = Follower(str(tmp_path))
    with Ledger(str(tmp_path), "a", run="r") as ledger:
        ledger.write("checkpoint", images_seen=1)
    with monkeypatch.context() as down:

        def refuse(place):
            raise StorageError(f"{place}: unreachable")

        down.setattr(storage, "list_sizes", refuse)
        assert _news(follower) == []
    assert "the ledger cannot be read at present" in caplog.text
    assert [event["images_seen"] for event in _news(follower)] == [1]
