"""Packed digits, a recipe that trains in seconds, and programs run as a user runs them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.launch.local_ray import LocalRay
from system.launch.local_ray import local_ray

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "configs" / "simflow_digits.yaml"


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digits, packed."""
    out = tmp_path_factory.mktemp("shards") / "digits"
    pack(resolve(ROOT / "configs/pack_digits.yaml", [f"out={out}"], PackRecipe).recipe)
    return str(out)


@pytest.fixture(scope="session")
def tiny(shards: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that make the digits recipe small; runs go to a folder of this test run."""
    root = tmp_path_factory.mktemp("runs")
    return [
        f"run.root={root}", f"data.shards={shards}", "run.name=tiny", "run.total_images=2048",
        "run.global_batch=64", "run.report_every_images=256", "run.checkpoint_every_images=256",
        "autoencoder.width=8", "flow.width=16", "flow.depths=[1, 1]", "flow.head_width=8",
        "evaluation.every_images=2048", "evaluation.density_samples=1",
        "evaluation.gradient_samples=1",
    ]  # fmt: skip


@pytest.fixture
def recipe(tiny: list[str]) -> Recipe:
    """The small recipe."""
    return resolve(DIGITS, tiny).recipe


@pytest.fixture(scope="session")
def ray_here() -> Iterator[LocalRay]:
    """One private Ray for the whole session: two workers and an evaluation fit."""
    with local_ray(cpus=3.0) as running:
        yield running


@pytest.fixture(scope="session")
def start(ray_here: LocalRay) -> Callable[..., "subprocess.Popen[str]"]:
    """Start a program of `jobs/` as a client of the session's Ray."""
    joined = ray_here.environment | {"RAY_ADDRESS": ray_here.address, "WANDB_MODE": "offline"}
    return lambda *command: start_program(*command, **joined)


def start_program(*command: str, **variables: str) -> "subprocess.Popen[str]":
    """Start `python` with these arguments from the tree's root; both outputs in one pipe.

    Ctrl-C reaches it, also where a shell has started the tests behind `&` and so made them and all
    that they start deaf to it.
    """
    known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=known | {"PYTHONPATH": str(ROOT)} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def program() -> Callable[..., "subprocess.Popen[str]"]:
    """`start_program`, for tests that need no Ray or bring their own."""
    return start_program
