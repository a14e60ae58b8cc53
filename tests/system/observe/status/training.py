"""A small real run as a process of its own: `python training.py <root> <name> <shards>`."""

import sys
from pathlib import Path

import torch

from data_pipeline.pack.pack import PackRecipe
from data_pipeline.pack.pack import pack
from data_pipeline.sources.source import Digits
from system.foundation import storage
from system.foundation.config import resolve
from system.launch.provenance import write_provenance
from system.train.alone import train_alone
from tests.recipes import CONFIGS
from tests.recipes import ROOT

SETTINGS = (
    "run.total_images=1536",
    "run.report_every_images=32",
    "run.checkpoint_every_images=512",
    "evaluation.every_images=512",
    "evaluation.density_samples=1",
    "evaluation.gradient_samples=1",
)


def main(root: str, name: str, shards: str) -> None:
    """Pack the digits that scikit-learn carries, and train on them."""
    torch.set_num_threads(1)  # more would wait for one another beside a browser
    if not Path(shards).exists():
        pack(PackRecipe(source=Digits(), out=shards, channels=1, held_out_fraction=0.2))
    resolved = resolve(
        CONFIGS / "simflow_digits.yaml",
        [
            str(CONFIGS / "smoke.yaml"),
            *SETTINGS,
            f"run.root={root}",
            f"run.name={name}",
            f"data.shards={shards}",
        ],
    )
    write_provenance(storage.join(root, name), resolved, ROOT)
    train_alone(resolved.recipe)


if __name__ == "__main__":
    main(*sys.argv[1:])
