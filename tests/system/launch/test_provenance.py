"""A run's folder tells where the run comes from, and every start of it."""

import json
import os
import subprocess
from pathlib import Path

from system.foundation.config import resolve
from system.launch.provenance import COMMIT_VARIABLE
from system.launch.provenance import JOB_VARIABLE
from system.launch.provenance import commit
from system.launch.provenance import submission_id
from system.launch.provenance import write_provenance

ROOT = Path(__file__).parents[3]


def git(folder, *arguments):
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *name, *arguments], check=True, capture_output=True)


def test_commit_of_a_tree_clean_and_changed(tmp_path, monkeypatch):
    monkeypatch.delenv(COMMIT_VARIABLE, raising=False)
    assert commit(tmp_path) is None
    git(tmp_path, "init")
    assert commit(tmp_path) is None
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "first")
    head = commit(tmp_path)
    assert len(head) == 40
    (tmp_path / "a").write_text("2")
    assert commit(tmp_path) == f"{head}+changes"


def test_the_submitter_knows_better_than_a_copy_without_history(tmp_path, monkeypatch):
    monkeypatch.setenv(COMMIT_VARIABLE, "abc")
    assert commit(tmp_path) == "abc"
    monkeypatch.setenv(COMMIT_VARIABLE, "")
    assert commit(tmp_path) is None


def test_every_start_is_kept_and_the_recipe_reads_back(tiny, tmp_path):
    resolved = resolve(ROOT / "configs/simflow_digits.yaml", tiny)
    url = str(tmp_path / "run")
    write_provenance(url, resolved, ROOT)
    write_provenance(url, resolved, ROOT)
    starts = json.loads((tmp_path / "run" / "provenance.json").read_text())["starts"]
    assert len(starts) == 2
    assert starts[0]["origins"]["flow.width"] == "command line"
    assert starts[0]["folder"] == os.getcwd()
    assert starts[0]["versions"]["ray"]
    assert starts[0]["versions"]["python"].startswith("3.")
    assert resolve(tmp_path / "run" / "recipe.yaml", []).recipe == resolved.recipe


def test_a_program_that_ray_started_as_a_job_knows_its_id(monkeypatch):
    monkeypatch.delenv(JOB_VARIABLE, raising=False)
    assert submission_id() is None
    given = {"runtime_env": {}, "metadata": {"job_submission_id": "raysubmit_a1"}}
    monkeypatch.setenv(JOB_VARIABLE, json.dumps(given))
    assert submission_id() == "raysubmit_a1"
    for odd in ("", "[]", '{"metadata": null}'):
        monkeypatch.setenv(JOB_VARIABLE, odd)
        assert submission_id() is None
