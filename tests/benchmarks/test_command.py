import subprocess
import sys

import pytest

from tests.benchmarks.command import main
from tests.benchmarks.report import ROOT
from tests.benchmarks.suites import COMPARED
from tests.benchmarks.suites import SUITES


def test_the_program_runs_from_anywhere_and_names_its_suites(tmp_path):
    command = [sys.executable, str(ROOT / "jobs" / "benchmark.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "python jobs/benchmark.py data --json data.json" in done.stdout
    for name, line in SUITES.items():
        assert f"{name:10s} {line}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nothing"], "there is no suite 'nothing'; there are: align, beside_training, checkpoint"),
        (["data", "--json", "no/such/place.json"], "there is no folder no/such"),
        ([], "required: SUITE"),
        (["data", "--against", "."], "--against: data has no peer; sample, train"),
        (["train", "--against", "no/such"], "no/such: found no transformer_flow.py there"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(capsys, arguments, reason):
    with pytest.raises(SystemExit) as ended:
        main("About.", arguments)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_has_a_module(name):
    assert (ROOT / "tests" / "benchmarks" / f"{name}.py").is_file()


def test_only_suites_are_compared():
    assert set(COMPARED) <= set(SUITES)
