import json
import math
import runpy
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from system.evaluation.encoding import encode
from system.evaluation.encoding import latent_noise
from system.evaluation.held_out_lengths import Measuring
from system.evaluation.held_out_lengths import lengths
from system.evaluation.held_out_lengths import standard_error
from system.evaluation.held_out_lengths import write_lengths
from system.evaluation.sources.shards import open_shards
from system.evaluation.sources.shards import shard_images
from system.evaluation.subject import assemble_subject
from system.flow.flow import to_tokens
from system.foundation.errors import BadInput
from system.foundation.errors import NumericsError
from system.launch.command import run


@pytest.fixture
def few(recipe):
    return shard_images(recipe.data, "held_out", count=70)


def test_each_length_is_that_of_the_slow_way(subject, few):
    """One image, one draw at a time."""
    found = lengths(subject, few, draws=2, seed=3)
    source, flow = open_shards(few), subject.model.flow
    assert torch.equal(found.label, source.labels(range(70)))
    for i in (0, 41, 69):
        posterior = encode(subject, source.images(range(i, i + 1)))
        total = 0.0
        for draw in range(2):
            latent = posterior.sample(latent_noise(subject, 3, range(i, i + 1), draw))
            tokens = to_tokens(latent, subject.recipe.flow.patch)
            total -= flow.log_prob(tokens, flow.condition(found.label[i : i + 1])).item() / 2
        bits = total / tokens[0].numel() / math.log(2)
        assert found.bits[i].item() == pytest.approx(bits, rel=1e-5)  # float32 likelihoods
        noise = math.log2(
            subject.recipe.autoencoder.posterior.std * math.sqrt(2 * math.pi * math.e)
        )
        assert found.rate[i].item() == pytest.approx(bits - noise, rel=1e-4)


def test_the_file_has_every_image_and_says_what_it_is(commit, recipe, tmp_path):
    out = tmp_path / "out"
    place, found = write_lengths(commit(recipe), Measuring(images=40, threads=1), output=str(out))
    assert Path(place) == out / "eval" / "000000002560-lengths.safetensors"
    arrays = load_file(place)
    assert torch.equal(arrays["bits_per_dim"], found.bits)
    assert arrays["rate_bits_per_dim"].dtype == torch.float64
    assert arrays["index"].tolist() == list(range(40))
    with safe_open(place, "pt") as file:
        told = file.metadata()
    assert "no bound on bits of pixels" in told["bound"]
    protocol = json.loads(told["protocol"])
    assert protocol["draws"] == 4
    assert protocol["images"]["split"] == "held_out"


def test_the_standard_error_is_that_of_a_mean():
    values = torch.tensor([1.0, 2.0, 3.0, 6.0])
    assert standard_error(values) == pytest.approx(values.std().item() / 2)


def test_no_flow_and_a_density_that_is_not_finite_are_errors(
    commit, recipe, subject, few, tmp_path
):
    alone = recipe.objective.model_copy(update={"route": "autoencoder_only"})
    url = commit(recipe.model_copy(update={"objective": alone}))
    with pytest.raises(BadInput, match="has no density"):
        write_lengths(url, Measuring(threads=1), output=str(tmp_path / "out"))
    weights = subject.model.state_dict()
    name = "flow.blocks.0.affine_out.bias"
    broken = {**weights, name: torch.full_like(weights[name], torch.nan)}
    with pytest.raises(NumericsError, match="70 of 70"):
        lengths(assemble_subject(recipe, broken, 0), few, draws=1, seed=0)


def test_the_job_tells_means_with_their_errors(commit, recipe, tmp_path, capsys):
    job = runpy.run_path(str(Path(__file__).parents[3] / "jobs" / "held_out_lengths.py"))
    arguments = [
        f"checkpoint={commit(recipe)}",
        f"out={tmp_path / 'out'}",
        "images=20",
        "threads=1",
    ]
    assert run(job["main"], None, about=job["__doc__"], schema=Measuring, arguments=arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bits_per_dim")
    assert "±" in lines[1]
    assert lines[-1].endswith("000000002560-lengths.safetensors")
