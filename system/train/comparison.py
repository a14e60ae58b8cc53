"""The same recipe with other posteriors, at equal images and over seeds, side by side.

Source: the component ablation of SimFlow, arXiv 2512.04084, at the size of the digits.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

from system.foundation import storage
from system.foundation.config import resolve
from system.foundation.recipe import Recipe
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.telemetry.ledger import read_ledger
from system.train.alone import train_alone

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


class Comparison(Record):
    """What to compare. Runs that are there already are not run again."""

    shards: str = "shards/digits"
    root: str = "runs/posteriors"
    seeds: tuple[int, ...] = (0, 1, 2)
    total_images: PositiveInt = 50_000


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the table: a variant of the recipe, and the variant its autoencoder is from."""

    title: str
    variant: str | None
    pretrained: str | None = None


ARMS = (
    Arm("joint, fixed spread (SimFlow)", None),
    Arm("joint, learned spread", "learned_variance"),
    Arm("frozen pretrained autoencoder", "frozen", pretrained="autoencoder_only"),
)

COLUMNS = {
    "evaluation/gfid": "gFID",
    "evaluation/gfid_unguided": "gFID, no guidance",
    "evaluation/conditional_accuracy": "accuracy of drawn digits",
    "evaluation/conditional_accuracy_unguided": "the same, no guidance",
    "evaluation/rfid": "rFID",
    "evaluation/psnr_db": "PSNR (dB)",
    "evaluation/bayes_accuracy": "Bayes classifier",
    "evaluation/gradient_accuracy": "one-gradient classifier",
}


def compare(settings: Comparison) -> str:
    """Train what is missing and return the table (Markdown): mean and deviation over seeds."""
    rows = [f"| posterior | {' | '.join(COLUMNS.values())} |", "| --- |" + " --- |" * len(COLUMNS)]
    for arm in ARMS:
        found = [final_values(train_arm(arm, seed, settings)) for seed in settings.seeds]
        cells = [spread([values[name] for values in found]) for name in COLUMNS]
        rows.append(f"| {arm.title} | {' | '.join(cells)} |")
    return "\n".join(rows)


def train_arm(arm: Arm, seed: int, settings: Comparison) -> str:
    """Train one arm with one seed, or take it up where it stands; the run's folder."""
    overrides = []
    if arm.pretrained is not None:
        pretrained = recipe_of(arm.pretrained, seed, settings, [])
        overrides.append(f"autoencoder.weights={_trained(pretrained)}")
    return _trained(recipe_of(arm.variant, seed, settings, overrides))


def recipe_of(variant: str | None, seed: int, settings: Comparison, overrides: list[str]) -> Recipe:
    """The digits recipe with a variant laid over it, for one process and one evaluation."""
    overlays = [] if variant is None else [str(CONFIGS / "variants" / f"{variant}.yaml")]
    images = settings.total_images
    return resolve(
        CONFIGS / "simflow_digits.yaml",
        [
            *overlays,
            f"run.name={variant or 'fixed'}-{seed}",
            f"run.root={settings.root}",
            f"run.seed={seed}",
            f"run.total_images={images}",
            f"run.checkpoint_every_images={images}",
            f"evaluation.every_images={images}",
            f"data.shards={settings.shards}",
            "cluster.workers=1",
            *overrides,
        ],
    ).recipe


def final_values(folder: str) -> dict[str, float]:
    """The numbers of a run's last evaluation."""
    *_, last = (event["values"] for event in read_ledger(folder) if event["kind"] == "evaluation")
    return last


def spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.3f} ± {deviation:.3f}"


def _trained(recipe: Recipe) -> str:
    folder = storage.join(recipe.run.root, recipe.run.name)
    if not any(event["kind"] == "run_finished" for event in read_ledger(folder)):
        train_alone(recipe)
    return folder
