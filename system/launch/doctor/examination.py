"""All that is looked at, in the order in which a run would meet it."""

import os
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from system.foundation.config import resolve
from system.foundation.overlay import is_file
from system.foundation.recipe import Recipe
from system.launch.command import ROOT
from system.launch.doctor import machine
from system.launch.doctor import probe
from system.launch.doctor import services
from system.launch.doctor.finding import Finding
from system.launch.doctor.finding import examined
from system.launch.doctor.finding import exit_code
from system.launch.doctor.finding import shown

DEFAULT = ROOT / "configs" / "simflow_digits.yaml"
WIDTH = 100


def print_examination(arguments: Sequence[str]) -> int:
    """Examine this machine for a recipe, or for any, and print each finding; 1 where one fails.

    Raises RecipeError where the recipe itself is not valid.
    """
    is_recipe = bool(arguments) and is_file(arguments[0])
    path, others = (Path(arguments[0]), arguments[1:]) if is_recipe else (DEFAULT, arguments)
    recipe = resolve(path, others).recipe
    # The quickstart packs its own images: without a recipe's or a place there is nothing to read.
    has_data = is_recipe or any(each.startswith("data.shards=") for each in others)
    console = Console(width=None if os.isatty(1) else WIDTH)
    findings = []
    for found in examination(recipe, has_data):
        console.print(shown([found]))
        findings.append(found)
    return exit_code(findings)


def examination(recipe: Recipe, has_data: bool) -> Iterator[Finding]:
    """Every finding as it is made."""
    checks = {
        "libraries": machine.libraries,
        "cuda": lambda: machine.accelerator(recipe),
        "deepspeed": machine.deepspeed_operators,
        "ray": lambda: services.ray_version(recipe),
        "ray access": lambda: services.ray_access(os.environ),
        "storage": lambda: probe.run_root(recipe),
        "wandb": lambda: services.wandb(recipe, os.environ),
        "disk": lambda: machine.disk(recipe),
        "shared memory": machine.shared_memory,
        "open files": machine.open_files,
        "processors": lambda: machine.processors(recipe),
    }
    if has_data:
        checks["data"] = lambda: probe.data(recipe)
    for name, check in checks.items():
        yield from examined(name, check)
