import json
import runpy
from pathlib import Path

import pytest

from system.evaluation.requests import Scoring
from system.evaluation.requests import evaluate_to_table
from system.evaluation.requests import run_folder_of
from system.foundation.errors import BadInput
from system.foundation.settings.evaluation import NoEvaluation
from system.launch.command import run


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


def run_job(arguments: list[str]) -> int:
    """The exit code of jobs/evaluate.py, run in this process."""
    job = runpy.run_path(str(Path(__file__).parents[3] / "jobs" / "evaluate.py"))
    return run(job["main"], None, about=job["__doc__"], schema=Scoring, arguments=arguments)


def test_the_job_refuses_bad_input_with_one_message(tmp_path, capsys):
    assert run_job([f"checkpoint={tmp_path}"]) == 2
    assert "no committed checkpoint" in capsys.readouterr().err
    assert run_job(["guidnace=1"]) == 2
    assert "guidance" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert run_job(["--help"]) == 0
    assert "python jobs/evaluate.py" in capsys.readouterr().out
