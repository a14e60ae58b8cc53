import json
import runpy
from pathlib import Path

import pytest
import torch

from system.evaluation import probes
from system.evaluation.pooled_features import Features
from system.evaluation.probe_classifiers import LogisticRegression
from system.evaluation.probe_classifiers import StochasticDescent
from system.evaluation.probes import Probing
from system.evaluation.probes import probe
from system.evaluation.protocol import Protocol
from system.foundation.errors import BadInput
from system.launch.command import run

WAY = LogisticRegression(penalties=(1.0, 1e-2))  # weak ones take L-BFGS long
FEW = {"train_images": 60, "threads": 1, "classifier": WAY}


def record(out: Path) -> dict:
    return json.loads((out / "eval" / "000000002560-probe.json").read_text())


def test_every_place_is_probed_beside_fresh_weights_and_written_down(commit, recipe, tmp_path):
    url, out = commit(recipe), tmp_path / "out"
    found = probe(url, Probing(places=((-1, 1), (1, 1)), **FEW), output=str(out))
    assert list(found) == [(1, 1)]
    assert set(found[1, 1]) == {
        f"{fresh}{name}"
        for fresh in ("", "fresh_")
        for name in ("accuracy", "top5_accuracy", "penalty")
    }
    assert 0.15 < found[1, 1]["accuracy"] < found[1, 1]["top5_accuracy"] <= 1  # chance is 0.1
    written = record(out)
    assert written["preset"] == "probe"
    assert written["checkpoint"] == url.rpartition("/")[2]
    assert len(written["measurements"]) == 6
    one = written["measurements"]["evaluation/probe_block1_layer1_fresh_accuracy"]
    assert one["value"] == found[1, 1]["fresh_accuracy"]
    assert one["standard_error"] == pytest.approx((one["value"] * (1 - one["value"]) / 329) ** 0.5)
    protocol = Protocol.model_validate(one["protocol"])
    assert protocol.digest == one["protocol_digest"]
    assert protocol.probe.weights == "fresh"
    assert (protocol.probe.block, protocol.probe.layers) == (1, 1)
    assert protocol.samples == 329
    assert "fitted on 60 of train" in protocol.reference


def test_nothing_said_of_places_means_every_block_and_the_same_numbers_again(
    commit, recipe, tmp_path
):
    url = commit(recipe)
    found, again = (
        probe(url, Probing(places=places, **FEW), output=str(tmp_path / "out"))
        for places in (None, ((-2, 1), (1, 1)))
    )
    assert list(found) == [(0, 1), (1, 1)]
    assert again == found  # to the last digit


def test_a_probe_may_be_trained_as_maes_and_the_protocol_says_how(commit, recipe, tmp_path):
    way = StochasticDescent(rates=(0.3, 1.0), epochs=(5, 20), batch=16)
    asked = Probing(places=((-1, 1),), **(FEW | {"classifier": way}))
    found = probe(commit(recipe), asked, output=str(tmp_path / "out"))
    assert found[1, 1]["learning_rate"] in (0.3, 1.0)
    assert found[1, 1]["epochs"] in (5, 20)
    one = record(tmp_path / "out")["measurements"][
        "evaluation/probe_block1_layer1_trained_accuracy"
    ]
    assert one["value"] == found[1, 1]["accuracy"]
    assert Protocol.model_validate(one["protocol"]).probe.classifier == way


def test_held_out_labels_decide_nothing_but_the_score(subject):
    generator = torch.Generator().manual_seed(0)
    key = ("trained", (0, 1))
    train, held_out = (
        Features(
            {key: torch.randn(count, 4, generator=generator)},
            torch.arange(count) % 10,
        )
        for count in (80, 30)
    )
    turned = Features(held_out.pooled, held_out.label.flip(0))
    first, second = (
        probes._scores(train, measured, key, subject, Probing()) for measured in (held_out, turned)
    )
    assert first["penalty"] == second["penalty"]
    assert first["penalty"] in LogisticRegression().penalties


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"places": ((2, 1),)}, r"\[2, 1\].*2 blocks of 1, 1 layers: expected blocks from -2 to 1"),
        ({"places": ((0, 1), (-1, 2))}, r"\[-1, 2\]"),
        ({"told": 10}, r"told=10.*from 0 to 9"),
    ],
)
def test_places_and_classes_that_are_not_there_are_refused(commit, recipe, tmp_path, keys, message):
    with pytest.raises(BadInput, match=message):
        probe(commit(recipe), Probing(**keys), output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_run_that_trained_no_flow_is_refused(commit, recipe, tmp_path):
    alone = recipe.objective.model_copy(update={"route": "autoencoder_only"})
    url = commit(recipe.model_copy(update={"objective": alone}))
    with pytest.raises(BadInput, match="no features of one to probe"):
        probe(url, Probing(), output=str(tmp_path / "out"))


def test_the_job_prints_a_line_for_each_place(commit, recipe, tmp_path, capsys):
    job = runpy.run_path(str(Path(__file__).parents[3] / "jobs" / "probe.py"))
    arguments = [f"checkpoint={commit(recipe)}", f"out={tmp_path / 'out'}", "places=[[-1,1]]"]
    arguments += ["train_images=60", "threads=1", "latent=draw"]
    assert run(job["main"], None, about=job["__doc__"], schema=Probing, arguments=arguments) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["block", "layers", "accuracy", "top5_accuracy"]
    assert line.split()[:2] == ["1", "1"]
    latents = next(iter(record(tmp_path / "out")["measurements"].values()))["protocol"]["latents"]
    assert latents == {"draws": 1, "seed": 0}
