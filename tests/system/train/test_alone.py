import json

import pytest
import torch

from system.engine.checkpoints import CheckpointStore
from system.engine.checkpoints import read_averaged
from system.evaluation.drawing import draw
from system.evaluation.protocol import Drawing
from system.evaluation.subject import read_subject
from system.foundation import storage
from system.foundation.config import resolve
from system.foundation.errors import CheckpointError
from system.foundation.errors import ClusterError
from system.foundation.settings.autoencoder import Pixels
from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.objective import Objective
from system.telemetry.goodput import account
from system.telemetry.ledger import read_ledger
from system.train.alone import train_alone


def events(folder: str, kind: str) -> list[dict]:
    return [event for event in read_ledger(folder) if event["kind"] == kind]


def test_a_run_alone_fills_its_folder(recipe, tmp_path) -> None:
    made = recipe(run={"global_batch": 8, "keep_checkpoints": 1, "name": "alone"} | EVERY)
    folder = train_alone(made)
    assert folder == f"{made.run.root}/alone"
    assert resolve(storage.local_path(folder) / "recipe.yaml", []).recipe == made
    assert [e["images_seen"] for e in events(folder, "report")] == [16, 32]
    assert [e["images_seen"] for e in events(folder, "checkpoint")] == [16, 32]
    (started,) = events(folder, "attempt_started")
    assert (started["workers"], started["device"]) == (1, "cpu")
    assert events(folder, "resumed") == []
    (finished,) = events(folder, "run_finished")
    assert finished["images_seen"] == 32
    (kept,) = CheckpointStore(f"{folder}/checkpoints").all()
    read, weights, images_seen = read_averaged(kept.url)
    assert (read, images_seen) == (made, 32)
    assert all(weight.dtype == torch.float32 for weight in weights.values())


EVERY = {"report_every_images": 16, "checkpoint_every_images": 16, "total_images": 32}


def test_the_same_name_goes_on_where_it_was(recipe) -> None:
    short = recipe(run={"global_batch": 8, "name": "alone"} | EVERY)
    longer = recipe(run={"global_batch": 8, "name": "alone"} | EVERY | {"total_images": 48})
    straight = recipe(run={"global_batch": 8, "name": "straight"} | EVERY | {"total_images": 48})
    folder = train_alone(short)
    assert train_alone(longer) == folder
    assert [e["attempt"] for e in events(folder, "attempt_started")] == [1, 2]
    (resumed,) = events(folder, "resumed")
    assert (resumed["attempt"], resumed["images_seen"]) == (2, 32)
    assert resumed["checkpoint"].endswith("000000000032-1")
    newest = CheckpointStore(f"{folder}/checkpoints").latest()
    assert newest.url.endswith("000000000048-2")
    expected = CheckpointStore(f"{train_alone(straight)}/checkpoints").latest()
    ours, theirs = (read_averaged(one.url)[1] for one in (newest, expected))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_an_attempt_that_cannot_restore_has_a_number_but_did_not_resume(recipe) -> None:
    made = recipe(run={"global_batch": 8, "name": "alone"} | EVERY)
    other = recipe(run={"global_batch": 8, "name": "alone", "seed": 5} | EVERY)
    folder = train_alone(made)
    with pytest.raises(CheckpointError, match=r"run\.seed"):
        train_alone(other)
    train_alone(made)
    assert [e["attempt"] for e in events(folder, "attempt_started")] == [1, 2, 3]
    assert [e["attempt"] for e in events(folder, "resumed")] == [3]


@pytest.mark.slow
def test_checkpoints_are_evaluated_in_line_when_asked(recipe) -> None:
    made = recipe(
        run={"global_batch": 8, "name": "alone"} | EVERY,
        evaluation={
            "kind": "digits",
            "every_images": 32,
            "density_samples": 1,
            "gradient_samples": 1,
        },
    )
    folder = train_alone(made)
    (event,) = events(folder, "evaluation")
    assert event["images_seen"] == 32
    spent = account(read_ledger(folder))
    assert spent.seconds("evaluation") >= event["waited_s"] - 0.01 > 0  # it is in line
    assert sum(spent.parts_us().values()) == spent.wall_us
    (record,) = storage.list_names(f"{folder}/eval")
    assert json.loads(storage.read_text(f"{folder}/eval/{record}"))["images_seen"] == 32
    assert storage.exists(f"{folder}/samples/000000000032.png")


@pytest.mark.parametrize("posterior", ["fixed", "uniform"])
def test_a_flow_on_pixels_trains_saves_and_draws(recipe, posterior) -> None:
    made = recipe(run={"global_batch": 8, "name": posterior} | EVERY)
    sections = {
        "autoencoder": Pixels(posterior={"kind": posterior}),
        "flow": made.flow.model_copy(update={"patch": 4}),
        "objective": Objective(route="frozen"),
    }
    folder = train_alone(made.model_copy(update=sections))
    newest = CheckpointStore(f"{folder}/checkpoints").latest()
    assert all(name.startswith("flow.") for name in read_averaged(newest.url)[1])
    subject = read_subject(newest.url)
    drawing = Drawing(labels="fixed", seed=0, sampler=Sampler(guidance=0.0))
    drawn = draw(subject, drawing, [0, 1], torch.tensor([3, 4]))
    assert drawn.shape == (2, 1, 8, 8)


def test_a_gpu_that_is_not_there_is_refused(recipe, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ClusterError, match=r"cluster\.device is cuda"):
        train_alone(recipe(cluster={"device": "cuda"}))
