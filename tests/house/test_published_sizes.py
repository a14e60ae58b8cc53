"""Parameters of every recipe at full size, built on meta: as published, and as our docs say."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from system.objectives.joint import JointModel
from tests.recipes import CONFIGS
from tests.recipes import PUBLISHED
from tests.recipes import ROOT
from tests.recipes import read

DOCS = ROOT / "docs" / "recipes.md"

# Millions of parameters of the flow, and how far from them we may be, relative. Two significant
# digits say no more than 4 %. What ml-tarflow's own code counts for its shapes is exact; other
# papers' 472M has the attention masks in it (docs/recipes.md).
FLOWS = {
    "simflow_256": (1400, 0.05),
    "simflow_512": (1400, 0.05),
    "starflow_256": (1400, 0.04),
    "tarflow_64": (466.286784, 0),
    "tarflow_64_likelihood": (460.142784, 0),
    "tarflow_64_rrepa": (817.636096, 0),
    "tarflow_128": (823.927552, 0),
    "latent_tarflow_256": (831, 0.001),
    "latent_tarflow_256 + patch_1": (831, 0.001),
}
# Stable Diffusion's autoencoder in diffusers has 83,653,863.
AUTOENCODERS = {"starflow_256": 83.653863, "latent_tarflow_256": 83.653863}
ROW = re.compile(r"^\| `(?P<name>[\w +]+)` \|.*\| (?P<flow>[\d.]+) \| (?P<autoencoder>[\d.]+) \|$")


@cache
def millions(name: str) -> tuple[float, float]:
    """Parameters of flow and autoencoder, in millions."""
    stem, *variants = name.split(" + ")
    overlays = [CONFIGS / "variants" / f"{each}.yaml" for each in variants]
    with torch.device("meta"):
        model = JointModel(read(CONFIGS / f"{stem}.yaml", *overlays))
    parts = (model.flow, model.autoencoder)
    return tuple(sum(weight.numel() for weight in part.parameters()) / 1e6 for part in parts)


def documented() -> dict[str, tuple[str, str]]:
    """The table of sizes in the docs: name to flow and autoencoder, as written there."""
    rows = [ROW.match(line) for line in DOCS.read_text("utf-8").splitlines()]
    return {row["name"]: (row["flow"], row["autoencoder"]) for row in rows if row}


def test_every_published_recipe_is_counted() -> None:
    assert {name.split(" + ")[0] for name in FLOWS} == {path.stem for path in PUBLISHED}


@pytest.mark.parametrize("name", FLOWS)
def test_the_flow_has_as_many_parameters_as_published(name: str) -> None:
    published, tolerance = FLOWS[name]
    assert millions(name)[0] == pytest.approx(published, rel=tolerance, abs=1e-9)


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_the_autoencoder_has_as_many_parameters_as_published(name: str) -> None:
    assert millions(name)[1] == pytest.approx(AUTOENCODERS[name], abs=1e-9)


@pytest.mark.parametrize("name", FLOWS)
def test_the_docs_say_our_numbers(name: str) -> None:
    assert documented()[name] == tuple(f"{count:.3f}" for count in millions(name))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_docs_say_how_each_recipe_is_run(path: Path) -> None:
    assert f"jobs/{path.stem}.py" in DOCS.read_text("utf-8")
