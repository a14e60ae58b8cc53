import math
import shutil
from pathlib import Path

import psutil
import pytest
import torch

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import CheckpointStore
from system.foundation import storage
from system.foundation.errors import CheckpointError
from system.foundation.errors import NumericsError
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.world import World
from system.telemetry.ledger import Ledger
from system.telemetry.ledger import read_ledger
from system.train.assemble import assemble
from system.train.loop import is_evaluated
from system.train.loop import open_training_stream
from system.train.loop import restore
from system.train.loop import train
from tests.system.train.trials import STAGES
from tests.system.train.trials import Collector
from tests.system.train.trials import Ended
from tests.system.train.trials import run_loop

CASES = [(stage, "fp32") for stage in STAGES] + [(2, "bf16")]
EVERY_BATCH = {"report_every_images": 8, "checkpoint_every_images": 8}


def measured(values: dict[str, float]) -> dict[str, float]:
    """Without what depends on the clock."""
    return {name: value for name, value in values.items() if not name.startswith("throughput/")}


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"zero{c[0]}-{c[1]}")
def test_a_run_cut_in_two_equals_the_whole_one_bit_for_bit(trials, case) -> None:
    whole, in_two = trials[0].whole[case], trials[0].in_two[case]
    assert whole.updates == in_two.updates == 4
    assert whole.values.keys() == in_two.values.keys() == {8, 16, 24, 32}
    for images, values in whole.values.items():
        assert measured(values) == measured(in_two.values[images])
    for part in ("weights", "averages", "critic"):
        expected, found = getattr(whole, part), getattr(in_two, part)
        assert expected.keys() == found.keys() != set()
        assert all(torch.equal(found[name], weight) for name, weight in expected.items()), part


def test_only_rank_0_reports(trials) -> None:
    assert trials[1].whole[2, "fp32"].values == {}


def test_reports_and_checkpoints_come_when_due(recipe) -> None:
    _, collector = run_loop(World(), recipe())
    assert list(collector.values) == [16, 32, 48, 64]
    assert collector.evaluated == {32: False, 64: False}
    values = collector.values[64]
    assert values["train/updates"] == 8
    assert values["train/averaging_decay"] == pytest.approx(8 / 17)
    assert values["throughput/images_per_s"] > 0
    assert values["throughput/data_wait_s"] < values["throughput/update_s"]
    assert collector.values[48]["throughput/checkpoint_s"] > 0
    assert values["train/bad_samples"] == 0
    assert values["latent/posterior_std"] == 0.5


def test_the_first_update_of_every_life_is_told_once(recipe) -> None:
    made = recipe()
    run_loop(World(), made, stop_at=24)
    run_loop(World(), made, attempt=2)
    told = [e for e in read_ledger(f"{made.run.root}/tiny") if e["kind"] == "first_update"]
    assert [event["images_seen"] for event in told] == [8, 32]
    assert all(0 <= event["data_wait_s"] < event["seconds"] for event in told)


def test_a_finished_run_does_nothing(recipe) -> None:
    made = recipe()
    run_loop(World(), made)
    ended, collector = run_loop(World(), made, attempt=2)
    assert collector.values == collector.evaluated == {}
    assert ended.updates == 8


def test_asked_to_leave_it_saves_first(recipe) -> None:
    made = recipe()
    _, collector = run_loop(World(), made, stop_at=24)
    assert list(collector.evaluated) == [24]
    assert CheckpointStore(f"{made.run.root}/tiny/checkpoints").latest().images_seen == 24
    _, second = run_loop(World(), made, attempt=2)
    assert list(second.evaluated) == [32, 64]


def test_a_damaged_newest_checkpoint_is_passed_over_and_named(recipe, tmp_path) -> None:
    made = recipe()
    whole, collector = run_loop(World(), made)
    newest = collector.store.latest()
    place = storage.join(newest.url, "averaged.safetensors")
    content = storage.read_bytes(place)
    storage.write_bytes(place, content[:-1] + bytes([content[-1] ^ 1]))
    resumed, _ = run_loop(World(), made, attempt=2)
    assert same(whole, resumed)
    events = {e["kind"]: e for e in read_ledger(f"{made.run.root}/tiny")}
    assert events["resumed"]["images_seen"] == 32
    assert events["resumed"]["checkpoint"] == collector.store.place(32, 1).url
    event = events["checkpoint_passed_over"]
    assert event["checkpoint"] == newest.url
    assert "averaged.safetensors is damaged" in event["reason"]


def test_a_run_whose_checkpoints_are_all_damaged_stops_and_names_them(recipe) -> None:
    made = recipe(run={"name": "tiny", "global_batch": 8, "total_images": 16, **EVERY_BATCH})
    _, collector = run_loop(World(), made)
    urls = [one.url for one in collector.store.all()]
    for url in urls:
        storage.remove(storage.join(url, "averaged.safetensors"))
    with pytest.raises(CheckpointError) as error:
        run_loop(World(), made, attempt=2)
    assert len(urls) == 2
    assert all(f"{url}: averaged.safetensors is missing" in str(error.value) for url in urls)
    events = read_ledger(f"{made.run.root}/tiny")
    assert {e["checkpoint"] for e in events if e["kind"] == "checkpoint_passed_over"} == set(urls)


def same(one: Ended, other: Ended) -> bool:
    return all(torch.equal(one.averages[n], other.averages[n]) for n in one.averages)


def test_a_checkpoint_elsewhere_is_fetched(recipe, tmp_path) -> None:
    made = recipe()
    whole, collector = run_loop(World(), made)
    far = CheckpointStore(f"memory://{tmp_path.name}/checkpoints")
    newest = collector.store.latest()
    for name in ("engine/state", "."):
        for file in storage.list_names(storage.join(newest.url, name)):
            source = storage.join(newest.url, name, file)
            if storage.local_path(source).is_file():
                at = storage.join(far.place(64, 1).url, *([] if name == "." else [name]), file)
                storage.write_bytes(at, storage.read_bytes(source))
    state = assemble(made, World(), read_manifest(made.data.shards))
    with Ledger(str(tmp_path / "elsewhere"), "worker-0", run="tiny") as ledger:
        assert restore(state, far, ledger, tmp_path / "scratch").images_seen == 64
    assert not (tmp_path / "scratch" / "restored").exists()
    averages = state.engine.averaged()
    assert all(torch.equal(averages[name], whole.averages[name]) for name in averages)


def test_numbers_that_explode_stop_the_run_and_are_in_the_ledger(recipe) -> None:
    made = recipe(
        engine={
            "precision": "fp32",
            "max_skipped_updates": 2,
            "gradient_clip": 0.0,
            "optimiser": {"learning_rate": 1e30},
        }
    )
    with pytest.raises(NumericsError, match="3 updates in a row"):
        run_loop(World(), made)
    skipped = [
        e["images_seen"]
        for e in read_ledger(f"{made.run.root}/tiny")
        if e["kind"] == "skipped_update"
    ]
    assert len(skipped) == 3
    assert CheckpointStore(f"{made.run.root}/tiny/checkpoints").latest() is None


@pytest.mark.chaos
def test_decoding_processes_end_with_the_training(recipe) -> None:
    before = psutil.Process().children()
    seen = []

    def leave() -> bool:
        seen.extend(child for child in psutil.Process().children() if child not in before)
        raise RuntimeError("as any error in the loop")

    made = recipe(data={"workers": 1})
    state = assemble(made, World(), read_manifest(made.data.shards))
    store = CheckpointStore(f"{made.run.root}/tiny/checkpoints")
    folder = Path(made.run.root)
    with (
        Ledger(str(folder / "tiny"), "worker-0", run="tiny") as ledger,
        pytest.raises(RuntimeError, match="any error") as caught,
    ):
        train(state, store, Collector(state, store), ledger, scratch=folder, leave=leave)
    assert len(seen) == 1
    assert not seen[0].is_running(), f"it lives, though {caught.value} ended the training"


def test_bad_samples_go_into_the_ledger(recipe, digits, tmp_path) -> None:
    shutil.copytree(digits.url, tmp_path / "damaged")
    damaged = read_manifest(str(tmp_path / "damaged"))
    shard = damaged.split("train").shards[0]
    with (tmp_path / "damaged" / shard.name).open("r+b") as file:
        file.seek(int(shard.offsets[0]))
        file.write(b"no image")
    made = recipe()
    data = made.data.model_copy(update={"shards": damaged.url, "max_bad_fraction": 0.5})
    state = assemble(made.model_copy(update={"data": data}), World(), damaged)
    with Ledger(str(tmp_path / "run"), "worker-0", run="tiny") as ledger:
        stream = open_training_stream(state, ledger)
        for _ in range(state.manifest.samples // 8 + 1):
            next(stream)
    events = read_ledger(str(tmp_path / "run"))
    assert {event["kind"] for event in events} == {"bad_sample"}
    assert {event["key"] for event in events} == {shard.keys[0]}


@pytest.mark.parametrize(
    ("checkpoint_every", "evaluate_every", "expected"),
    [
        (16, 32, {32, 64}),
        (16, 48, {48, 64}),
        (24, 32, {48, 64}),  # the first checkpoint at or after 32; 64 is the last
        (20, 20, {24, 40, 64}),  # checkpoints fall on whole batches
        (64, 16, {64}),
    ],
)
def test_evaluated_is_the_first_checkpoint_after_each_multiple_and_the_last(
    recipe, checkpoint_every: int, evaluate_every: int, expected: set[int]
) -> None:
    made = recipe()
    run = made.run.model_copy(update={"checkpoint_every_images": checkpoint_every})
    made = made.model_copy(
        update={"run": run, "evaluation": DigitsEvaluation(every_images=evaluate_every)}
    )
    saves = {math.ceil(n * checkpoint_every / 8) * 8 for n in range(1, 64 // checkpoint_every + 1)}
    found = {images for images in saves | {64} if is_evaluated(made, images)}
    assert found == expected


def test_nothing_is_evaluated_unless_asked(recipe) -> None:
    assert not is_evaluated(recipe(), 64)
