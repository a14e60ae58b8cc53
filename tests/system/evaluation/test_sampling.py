import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from data_pipeline.shards.manifest import read_manifest
from system.engine.checkpoints import further_average
from system.evaluation.sampling import Sampling
from system.evaluation.sampling import sample_to_folder
from system.foundation.errors import BadInput
from system.foundation.errors import CheckpointError
from system.foundation.errors import NumericsError
from system.launch.command import run
from tests.system.evaluation.conftest import random_weights


def contents(folder: Path) -> dict[str, bytes]:
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_files_are_the_same_bytes_for_any_batch_and_any_number_of_them_at_once(
    commit, recipe, tmp_path
):
    run = commit(recipe).rpartition("/checkpoints/")[0]
    for batch, in_flight in ((4, 1), (100, 2)):
        out = tmp_path / str(batch)
        cut = {"batch": batch, "batches_in_flight": in_flight}
        request = Sampling(checkpoint=run, out=str(out), count=150, **cut)
        assert sample_to_folder(request) == [f"{out}/samples.png", f"{out}/samples.npz"]
    assert contents(tmp_path / "4") == contents(tmp_path / "100")
    assert contents(tmp_path / "4").keys() == {"samples.png", "samples.npz"}
    drawn = np.load(tmp_path / "4" / "samples.npz")
    assert drawn["arr_0"].shape == (150, 8, 8, 3)
    assert drawn["arr_1"].tolist() == [i % 10 for i in range(150)]


def test_a_file_for_each_image(commit, recipe, tmp_path):
    request = Sampling(checkpoint=commit(recipe), out=str(tmp_path), count=12, labels="random")
    sample_to_folder(request)
    drawn = np.load(tmp_path / "samples.npz")
    assert len(set(drawn["arr_1"].tolist())) > 2
    assert drawn["arr_1"].tolist() != sorted(drawn["arr_1"].tolist())
    pngs = request.model_copy(update={"files": "png"})
    assert sample_to_folder(pngs) == [f"{tmp_path}/samples.png", f"{tmp_path}/images"]
    paths = sorted((tmp_path / "images").iterdir())
    for i, (path, label) in enumerate(zip(paths, drawn["arr_1"], strict=True)):
        assert path.name == f"{i:06d}-class-{label}.png"
        assert (np.asarray(Image.open(path)) == drawn["arr_0"][i, ..., 0]).all()


def test_one_class(commit, recipe, tmp_path):
    sample_to_folder(
        Sampling(checkpoint=commit(recipe), out=str(tmp_path), count=4, labels="3", guidance=0)
    )
    assert np.load(tmp_path / "samples.npz")["arr_1"].tolist() == [3, 3, 3, 3]


def test_classes_as_often_as_in_training(commit, recipe, tmp_path):
    request = Sampling(
        checkpoint=commit(recipe), out=str(tmp_path), count=300, labels="train_frequency"
    )
    sample_to_folder(request)
    drawn = np.load(tmp_path / "samples.npz")["arr_1"]
    real = read_manifest(recipe.data.shards).split("train").labels
    shares = [np.bincount(labels, minlength=10) / len(labels) for labels in (drawn, real)]
    assert np.abs(shares[0] - shares[1]).max() < 0.08  # 4 standard errors
    data = recipe.data.model_copy(update={"shards": "/nowhere"})
    gone = commit(recipe.model_copy(update={"data": data}))
    with pytest.raises(BadInput, match="/nowhere"):
        sample_to_folder(request.model_copy(update={"checkpoint": gone}))


def test_no_class(commit, recipe, tmp_path):
    request = Sampling(checkpoint=commit(recipe), out=str(tmp_path), count=3, labels="none")
    with pytest.raises(BadInput, match="for no class"):  # the run's own guidance
        sample_to_folder(request)
    sample_to_folder(request.model_copy(update={"guidance": 0.0}))
    drawn = np.load(tmp_path / "samples.npz")
    assert drawn["arr_1"].tolist() == [-1, -1, -1]
    assert drawn["arr_0"].shape == (3, 8, 8, 3)


def test_every_key_of_the_sampler_may_be_given(commit, recipe, tmp_path):
    """What is not given is the run's own; the whole is checked as a recipe is."""
    url = commit(
        recipe.model_copy(
            update={"evaluation": recipe.evaluation.model_copy(update={"guidance_rule": "linear"})}
        )
    )

    def drawn(**keys: object) -> np.ndarray:
        sample_to_folder(Sampling(checkpoint=url, out=str(tmp_path), count=5, **keys))
        return np.load(tmp_path / "samples.npz")["arr_0"]

    own = drawn()
    assert (own == drawn(guidance=recipe.evaluation.guidance, guidance_rule="linear")).all()
    away = {"guidance_against": "temperature", "attention_temperature": 0.2}
    for keys in (
        {"guidance": 2.0},
        {"guidance": 2.0, "guidance_rule": "product"},
        {"guidance_blocks": "all"},
        {"guidance_parts": "a"},
        {"guidance_ramp": "linear"},
        away,
        {"temperature": 0.5},
        {"denoise": 1.0},
        {"rounding": "truncate"},
        {"seed": 1},
    ):
        assert (own != drawn(**keys)).any(), keys
    with pytest.raises(BadInput, match="guidance_against is null_class"):
        drawn(attention_temperature=0.2)


def test_any_average_that_the_checkpoint_holds(commit, recipe, tmp_path):
    engine = recipe.engine.model_copy(update={"further_decays": (0.5,)})
    (tmp_path / "local").mkdir()
    other = {name: 0.5 * value for name, value in random_weights(recipe).items()}
    save_file(other, tmp_path / "local" / further_average(0.5))
    url = commit(recipe.model_copy(update={"engine": engine}))

    def drawn(decay: float | None) -> np.ndarray:
        out = str(tmp_path / "out")
        sample_to_folder(Sampling(checkpoint=url, out=out, count=3, averaging_decay=decay))
        return np.load(tmp_path / "out" / "samples.npz")["arr_0"]

    assert (drawn(None) == drawn(engine.averaging_decay)).all()
    assert (drawn(None) != drawn(0.5)).any()
    with pytest.raises(CheckpointError, match=r"no average of decay 0\.25"):
        drawn(0.25)


def test_a_class_the_model_does_not_know(commit, recipe, tmp_path):
    with pytest.raises(BadInput, match="from 0 to 9"):
        sample_to_folder(Sampling(checkpoint=commit(recipe), out=str(tmp_path / "x"), labels="10"))
    assert not (tmp_path / "x").exists()


def test_images_that_are_not_finite_leave_no_file(commit, recipe, tmp_path):
    out = tmp_path / "out"
    wild = Sampling(checkpoint=commit(recipe), out=str(out), guidance=1e30, guidance_rule="linear")
    with pytest.raises(NumericsError, match="100 of 100 images"):
        sample_to_folder(wild)
    assert contents(out) == {}


def test_a_gpu_that_is_not_there(commit, recipe, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BadInput, match="device=cpu"):
        sample_to_folder(Sampling(checkpoint=commit(recipe), device="cuda"))


def run_job(arguments: list[str]) -> int:
    """The exit code of jobs/sample.py, run in this process."""
    job = runpy.run_path(str(Path(__file__).parents[3] / "jobs" / "sample.py"))
    return run(job["main"], None, about=job["__doc__"], schema=Sampling, arguments=arguments)


def test_the_job_says_where_its_files_lie(commit, recipe, tmp_path, capsys):
    out = tmp_path / "drawn"
    assert run_job([f"checkpoint={commit(recipe)}", "count=3", f"out={out}"]) == 0
    assert capsys.readouterr().out.split() == [f"{out}/samples.png", f"{out}/samples.npz"]


def test_the_job_refuses_bad_input_with_one_message(tmp_path, capsys):
    assert run_job([f"checkpoint={tmp_path}"]) == 2
    assert "no committed checkpoint" in capsys.readouterr().err
    assert run_job(["guidnace=1"]) == 2
    assert "guidance" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert run_job(["--help"]) == 0
    assert "python jobs/sample.py" in capsys.readouterr().out
