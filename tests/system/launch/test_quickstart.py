"""The quickstart: from nothing to pictures, with an interrupt on the way."""

import json
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from system.foundation.errors import BadInput
from system.launch.local_ray import MARK
from system.launch.quickstart import job_arguments
from system.launch.quickstart import pack_digits
from system.telemetry.ledger import read_ledger


def test_what_is_of_the_quickstart_alone_is_not_handed_on():
    given = ["small.yaml", "port=8265", "run.name=port"]
    assert job_arguments(given) == ["small.yaml", "run.name=port"]


def test_digits_are_packed_once(tmp_path, capsys):
    pack_digits(str(tmp_path / "digits"))
    assert "1797 images packed" in capsys.readouterr().out
    pack_digits(str(tmp_path / "digits"))
    assert capsys.readouterr().out == ""


def test_shards_that_cannot_be_written_are_bad_input(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadInput, match=r"file/digits/.* Check that"):
        pack_digits(str(tmp_path / "file" / "digits"))


def left_behind(marks):
    """Living processes with one of these marks."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) in marks:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_interrupted_and_started_again_it_ends_with_pictures(program, tiny, tmp_path):
    places = [f"run.root={tmp_path}/runs", f"data.shards={tmp_path}/shards", "run.name=quick"]
    run = tmp_path / "runs" / "quick"
    first = program("jobs/quickstart.py", *tiny, *places, WANDB_MODE="offline")
    while not any(event["kind"] == "checkpoint" for event in read_ledger(str(run))):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    marks = set()
    for child in psutil.Process(first.pid).children(recursive=True):
        with suppress(psutil.Error):  # it may end meanwhile
            marks.add(child.environ().get(MARK))
    marks.discard(None)
    assert marks
    first.send_signal(signal.SIGINT)
    said, _ = first.communicate(timeout=300)
    assert first.returncode == 130, said
    assert left_behind(marks) == []

    second = program("jobs/quickstart.py", *tiny, *places, WANDB_MODE="offline")
    said, _ = second.communicate(timeout=600)
    assert second.returncode == 0, said
    assert "attempt 2 starts" in said
    assert "resumes at" in said
    assert "loopback only, with a token" in said
    summary = json.loads((run / "summary.json").read_text())
    assert summary["images_seen"] == 2048
    assert summary["restarts"] == 1
    assert summary["numbers"]["evaluation/gfid"]["protocol"]["preset"] == "digits"
    for place in summary["places"].values():
        assert Path(place).exists()
        assert place in said
    drawn = np.load(run / "samples.npz")
    assert drawn["arr_0"].shape == (1000, 8, 8, 3)
    assert drawn["arr_0"].dtype == np.uint8
    assert Image.open(run / "samples.png").format == "PNG"
    assert Image.open(run / "curves.png").format == "PNG"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "code", "said"),
    [("run.name=bad/name", 2, "run.name"), ("cluster.workers=64", 2, "cluster error: the cluster")],
)
def test_what_cannot_run_is_said_before_ray_starts(program, tiny, argument, code, said):
    job = program("jobs/quickstart.py", *tiny, argument)
    output, _ = job.communicate(timeout=120)
    assert job.returncode == code, output
    assert said in output
    assert "private Ray at" not in output
