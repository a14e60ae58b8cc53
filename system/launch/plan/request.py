"""What a plan is asked beside the recipe: keys of its own, which begin with `plan.`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from typing import Literal

from pydantic import Field

from system.foundation.config import Resolved
from system.foundation.config import describe
from system.foundation.config import resolve
from system.foundation.errors import RecipeError
from system.foundation.recipe import Recipe
from system.foundation.settings.record import PositiveFloat
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

PREFIX = "plan."
Share = Annotated[float, Field(gt=0, le=1)]


class Planning(Record):
    """On what a recipe is planned; these keys are given as plan.KEY=value."""

    gpus: tuple[str, ...] = Field((), description="kinds of GPUs in the table; [] for all of them")
    counts: tuple[PositiveInt, ...] = Field(
        (), description="numbers of GPUs; [] for half of cluster.workers, as many, and the double"
    )
    mfu: Share | None = Field(
        None,
        description="share of a GPU's peak that is reached; null: what a published run of such a "
        "model reached (system/launch/plan/published.py)",
    )
    images_per_gpu_s: PositiveFloat | None = Field(
        None, description="measured images a second of one GPU, in place of mfu; with one of gpus"
    )
    measured_gpus: PositiveInt = Field(
        1,
        description="GPUs of the run that images_per_gpu_s was measured in: what the network took "
        "there is not taken twice",
    )
    images_per_gpu: PositiveInt | None = Field(
        None,
        description="images of an update on each GPU, so that the batch grows with their number "
        "(another run than the recipe's); null: run.global_batch on any number of them",
    )
    overlap: Literal["configured", "full", "none"] = Field(
        "configured",
        description="whether gradients of stages 2 and 3 are sent while others are computed: as "
        "the engine configures DeepSpeed, or one of the two",
    )
    usable_memory: Share = Field(
        0.9, description="share of a GPU's memory for tensors: a context and gaps take the rest"
    )
    image_bytes: PositiveFloat | None = Field(
        None, description="stored bytes of an image; null: as in data.shards, or ImageNet's own"
    )
    prices: str = Field("configs/plan/gpus.yaml", description="the table of GPUs and prices")
    json_file: str | None = Field(None, description="file that gets the plan as JSON too")


def ask(recipe: Path | None, arguments: Sequence[str]) -> tuple[Resolved[Recipe], Planning]:
    """The recipe and the plan's own keys, out of one command line.

    Without an embedded recipe the first YAML file is it. Raises RecipeError.
    """
    own = [each.removeprefix(PREFIX) for each in arguments if each.startswith(PREFIX)]
    others = [each for each in arguments if not each.startswith(PREFIX)]
    planning = resolve(None, own, Planning).recipe
    if planning.images_per_gpu_s is not None and len(planning.gpus) != 1:
        raise RecipeError(
            f"plan.images_per_gpu_s {planning.images_per_gpu_s:g} is of one kind of GPU: name it "
            "with plan.gpus=[NAME]"
        )
    if recipe is None and not others:
        raise RecipeError(
            "no recipe to plan; expected one first, as in `python jobs/plan.py "
            "configs/simflow_256.yaml cluster.workers=8 plan.gpus=[H100-80GB]`"
        )
    if recipe is None:
        recipe, *others = Path(others[0]), *others[1:]
    return resolve(recipe, others), planning


def help_page(about: str) -> str:
    """What `jobs/plan.py --help` prints: its docstring and the keys of a plan."""
    keys = re.sub(r"\n  (?=\w)", rf"\n  {PREFIX}", describe(resolve(None, [], Planning)))
    return f"{about.strip()}\n\nusage: python jobs/plan.py RECIPE.yaml [overlay.yaml ...] " + (
        f"[key.path=value ...] [plan.KEY=value ...]\n\n{keys}"
    )
