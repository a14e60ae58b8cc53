import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from system.evaluation.requests import Sampling
from system.evaluation.requests import Scoring
from system.evaluation.requests import evaluate_to_table
from system.evaluation.requests import run_folder_of
from system.evaluation.requests import sample_to_folder
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import NoEvaluation
from system.launch.command import run


def test_samples_are_the_same_for_any_batch(commit, recipe, tmp_path):
    run = commit(recipe).rpartition("/checkpoints/")[0]
    drawn = []
    for batch in (4, 64):
        out = tmp_path / str(batch)
        request = Sampling(checkpoint=run, out=str(out), count=23, batch=batch)
        assert sample_to_folder(request) == [f"{out}/samples.png", f"{out}/samples.npz"]
        drawn.append(np.load(out / "samples.npz"))
    first, second = drawn
    assert first["arr_0"].shape == (23, 8, 8, 3)
    assert first["arr_1"].tolist() == [i % 10 for i in range(23)]
    assert np.abs(first["arr_0"].astype(int) - second["arr_0"].astype(int)).max() <= 1


def test_one_class(commit, recipe, tmp_path):
    sample_to_folder(
        Sampling(checkpoint=commit(recipe), out=str(tmp_path), count=4, labels="3", guidance=0)
    )
    assert np.load(tmp_path / "samples.npz")["arr_1"].tolist() == [3, 3, 3, 3]


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
    ):
        assert (own != drawn(**keys)).any(), keys
    with pytest.raises(BadInput, match="guidance_against is null_class"):
        drawn(attention_temperature=0.2)


def test_a_class_the_model_does_not_know(commit, recipe, tmp_path):
    with pytest.raises(BadInput, match="from 0 to 9"):
        sample_to_folder(Sampling(checkpoint=commit(recipe), out=str(tmp_path / "x"), labels="10"))
    assert not (tmp_path / "x").exists()


def test_a_gpu_that_is_not_there(commit, recipe, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BadInput, match="device=cpu"):
        sample_to_folder(Sampling(checkpoint=commit(recipe), device="cuda"))


@pytest.mark.usefixtures("detector")
def test_settings_of_ones_own_go_to_a_folder_of_ones_own(commit, recipe, root, tmp_path):
    url = commit(recipe.model_copy(update={"evaluation": NoEvaluation()}))
    run = root / tmp_path.name
    with pytest.raises(BadInput, match="out=FOLDER"):
        evaluate_to_table(Scoring(checkpoint=str(run), guidance=2.0))
    out = root / f"{tmp_path.name}-guided"
    table = evaluate_to_table(
        Scoring(checkpoint=str(run), guidance=2.0, out=str(out), shards=recipe.data.shards)
    )
    (file,) = (out / "eval").iterdir()
    written = json.loads(file.read_text())
    assert written["checkpoint"] == url
    gfid = written["measurements"]["evaluation/gfid"]
    assert gfid["protocol"]["drawing"]["sampler"]["guidance"] == 2.0
    assert f"{gfid['value']:.6g}" in table
    assert not (run / "eval").exists()


def test_a_checkpoint_that_was_moved_needs_a_place_for_its_record():
    assert run_folder_of("runs/a/checkpoints/000000002560-1/") == "runs/a"
    with pytest.raises(BadInput, match="out=FOLDER"):
        run_folder_of("elsewhere/000000002560-1")


def run_job(name: str, arguments: list[str]) -> int:
    """The exit code of a program in `jobs/`, run in this process."""
    job = runpy.run_path(str(Path(__file__).parents[3] / "jobs" / f"{name}.py"))
    schema = {"sample": Sampling, "evaluate": Scoring}[name]
    return run(job["main"], None, about=job["__doc__"], schema=schema, arguments=arguments)


def test_the_sampling_job_says_where_its_files_lie(commit, recipe, tmp_path, capsys):
    out = tmp_path / "drawn"
    assert run_job("sample", [f"checkpoint={commit(recipe)}", "count=3", f"out={out}"]) == 0
    assert capsys.readouterr().out.split() == [f"{out}/samples.png", f"{out}/samples.npz"]


@pytest.mark.parametrize("name", ["sample", "evaluate"])
def test_jobs_refuse_bad_input_with_one_message(name, tmp_path, capsys):
    assert run_job(name, [f"checkpoint={tmp_path}"]) == 2
    assert "no committed checkpoint" in capsys.readouterr().err
    assert run_job(name, ["guidnace=1"]) == 2
    assert "guidance" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert run_job(name, ["--help"]) == 0
    assert f"python jobs/{name}.py" in capsys.readouterr().out
