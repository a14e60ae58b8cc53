"""What is mirrored and under which name; whatever wandb does becomes an answer or an end."""

import io
import json
import signal
import subprocess
import sys
from dataclasses import asdict

import pytest

from system.telemetry.wandb_mirror import Target
from system.telemetry.wandb_mirror import mirror
from system.telemetry.wandb_mirror import row
from system.telemetry.wandb_mirror import run_id
from tests.system.telemetry.test_wandb_sink import EVALUATION
from tests.system.telemetry.test_wandb_sink import REPORT


def test_the_same_run_has_the_same_id_and_another_place_another():
    assert run_id("s3://b/runs/digits") == run_id("s3://b/runs/digits/")
    assert run_id("s3://b/runs/digits").startswith("digits-")
    assert run_id("s3://b/runs/digits") != run_id("s3://c/runs/digits")


@pytest.mark.parametrize(
    ("event", "logged"),
    [
        (REPORT, {"images_seen": 64, "loss/total": 0.5}),
        (EVALUATION, {"images_seen": 64, "evaluation/gfid": 9.0}),
        (
            {"kind": "goodput", "images_seen": 64, "values": {"goodput/share": 0.9}},
            {"images_seen": 64, "goodput/share": 0.9},
        ),
        ({"kind": "checkpoint", "images_seen": 64}, {}),
    ],
)
def test_row(event, logged):
    assert row(event) == logged


def test_what_wandb_raises_is_an_answer_and_the_last_where_it_did_not_start(tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    target = Target(str(tmp_path / "run"), "p", "offline", {})
    answers = io.StringIO()
    mirror(iter([json.dumps(asdict(target)), json.dumps(REPORT)]), answers)
    (answer,) = answers.getvalue().splitlines()
    assert "run" in json.loads(answer)


HANGS = """
import sys, time
from system.telemetry import wandb_mirror
wandb_mirror.LONGEST_CALL_S = 1
wandb_mirror._answered(lambda: None, sys.stdout)
wandb_mirror._answered(lambda: time.sleep(240), sys.stdout)
"""


def test_a_call_that_hangs_ends_the_process():
    done = subprocess.run(
        [sys.executable, "-c", HANGS], stdout=subprocess.PIPE, text=True, check=False, timeout=200
    )
    assert (done.stdout, done.returncode) == ("null\n", -signal.SIGALRM)
