"""From a command line to a printed plan: what `--plan` and `jobs/plan.py` do."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from system.foundation import storage
from system.launch.plan.forecast import plan
from system.launch.plan.hardware import read_gpus
from system.launch.plan.request import ask
from system.launch.plan.told import WIDTH
from system.launch.plan.told import as_json
from system.launch.plan.told import shown

ROOT = Path(__file__).resolve().parents[3]


def print_plan(recipe: Path | None, arguments: Sequence[str]) -> int:
    """Plan the recipe of a command line, and print it. Raises RecipeError, BadInput.

    The exit code is 1 where the recipe's own cluster.workers work on none of the GPUs asked for.
    """
    resolved, planning = ask(recipe, arguments)
    prices = Path(planning.prices)
    gpus = read_gpus(prices if prices.exists() else ROOT / prices, planning.gpus)
    made = plan(resolved.recipe, planning, gpus)
    console = Console(width=None if os.isatty(1) else WIDTH)
    console.print(shown(made))
    if planning.json_file is not None:
        storage.write_bytes(planning.json_file, as_json(made).encode())
    own = [row for row in made.rows if row.count == resolved.recipe.cluster.workers]
    return int(bool(own) and all(row.problem for row in own))
