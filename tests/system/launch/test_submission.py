"""What a job is told does not depend on the folder it runs in."""

from system.foundation.settings.objective import Lpips
from system.launch.submission import placed


def test_paths_are_absolute_and_come_last(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = recipe.run.model_copy(update={"root": "runs"})
    data = recipe.data.model_copy(update={"shards": "s3://bucket/digits"})
    given = ["small.yaml", "run.name=x", "run.root=runs"]
    assert placed(recipe.model_copy(update={"run": run, "data": data}), given) == [
        f"{tmp_path}/small.yaml",
        "run.name=x",
        "run.root=runs",
        f"run.root={tmp_path}/runs",
        "data.shards=s3://bucket/digits",
    ]


def test_what_training_starts_from_is_placed_too(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objective = recipe.objective.model_copy(update={"perceptual": Lpips(trunk="vgg.pth")})
    autoencoder = recipe.autoencoder.model_copy(update={"weights": "runs/first"})
    started = recipe.model_copy(update={"objective": objective, "autoencoder": autoencoder})
    assert placed(started, [])[2:] == [
        f"autoencoder.weights={tmp_path}/runs/first",
        f"objective.perceptual.trunk={tmp_path}/vgg.pth",
    ]
