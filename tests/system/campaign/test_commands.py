"""The commands as a person gives them; what needs a cluster is in tests/faults/test_campaign.py."""

import pytest

from system.campaign.commands import Request
from system.campaign.commands import main
from system.campaign.ledger import CampaignLedger
from system.foundation.config import resolve
from system.foundation.errors import BadInput
from system.foundation.errors import ClusterError
from system.launch.command import ROOT
from system.launch.command import help_page
from system.telemetry.ledger import Ledger
from tests.system.campaign.campaigns import SPREAD
from tests.system.campaign.campaigns import Told
from tests.system.campaign.campaigns import campaign

FILE = """
name: sweep
root: {root}
recipe: configs/simflow_digits.yaml
overlays: [configs/smoke.yaml]
objective: {{metric: loss/nll_nats}}
space:
  autoencoder.posterior.std: {{choices: [0.3, 0.5, 0.7]}}
  engine.optimiser.learning_rate: {{choices: [1e-4, 1e-3]}}
rungs: [100, 200, 400]
keep: 0.34
limits: {{trials: 6}}
"""


@pytest.fixture
def do(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(FILE.format(root=tmp_path / "runs"))

    def call(action, *arguments):
        given = [f"action={action}", str(file), *arguments]
        return main(resolve(None, given, Request))

    return call


@pytest.fixture
def told(tmp_path):
    """A finished campaign, written where `do` looks for it."""
    made = Told(campaign(root=str(tmp_path / "runs")))
    made.run_out(
        lambda job: made.standing.trials[made.standing.runs[job.run].trial].overrides[SPREAD]
    )
    ledger = CampaignLedger(str(tmp_path / "runs"), "sweep")
    assert all(ledger.append(event) for event in made.events)
    return made


def test_a_plan_lists_trials_hours_and_end(do, tmp_path, capsys):
    assert do("plan", "limits.images_per_s=10", "price_per_gpu_hour=2", "gpus=2") == 0
    said = capsys.readouterr().out
    assert "6 jobs of            100 images" in said
    assert "10 images/s, as limits.images_per_s says, 2 at once" in said
    assert said.count("trial ") == 6
    with Ledger(str(tmp_path / "before"), "worker-0", run="r") as ledger:
        for rate in (1.0, 8.0, 9.0):
            values = {"throughput/images_per_s": rate}
            ledger.write("report", images_seen=1, values=values)
    do("plan", f"pace_from={tmp_path}/before")
    assert "8 images/s, as" in capsys.readouterr().out
    with pytest.raises(BadInput, match="nothing says how fast"):
        do("plan")
    with pytest.raises(BadInput, match="no throughput"):
        do("plan", f"pace_from={tmp_path}/nowhere")


def test_of_what_has_not_begun_nothing_is_said(do):
    for action in ("status", "stop", "resume", "leaderboard", "promote", "replay"):
        with pytest.raises(BadInput, match="start it first"):
            do(action)


def test_what_has_ended_is_told_of(do, told, capsys):
    assert do("status") == 0
    assert "sweep: complete" in capsys.readouterr().out
    assert do("leaderboard") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert f"{SPREAD}=0.3" in lines[1]
    assert do("replay") == 0
    assert ", 0 differ" in capsys.readouterr().out


def test_a_winner_becomes_a_full_run_under_its_name(do, told, capsys):
    assert do("promote", "total_images=2e6") == 0
    said = capsys.readouterr().out
    best = next(t for t in told.standing.trials.values() if t.overrides[SPREAD] == 0.3)
    assert "python jobs/simflow_digits.py" in said
    assert f"'run.name={best.run.name}'" in said
    assert "'run.total_images=2000000'" in said
    with pytest.raises(BadInput, match="expected one of"):
        do("promote", "trial=none")


def test_without_a_cluster_nothing_is_decided(do, told, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(ClusterError):
        do("tick")


def test_every_command_and_key_is_explained(do):
    about = (ROOT / "jobs/run_campaign.py").read_text().split('"""')[1]
    file = str(ROOT / "configs/campaigns/digits_spread.yaml")
    page = help_page(None, about, Request, [file])
    assert "limits.gpu_hours" in page
    assert "every_s" in page
