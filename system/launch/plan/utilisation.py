"""Model FLOPs utilisation: which share of the peak of its GPUs a run makes its passes at.

The passes are counted on shapes alone, once, before anything starts; what layers compute a second
time to save memory counts once, as it is no work of the model's. Source: Chowdhery et al. 2022
(PaLM), appendix B.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from system.foundation.recipe import Recipe
from system.launch.plan.hardware import read_gpus

METRIC = "throughput/mfu_share"
COUNTED = 2  # images of the pass that is counted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Utilisation:
    """What an image takes of a recipe, and what GPUs can give."""

    flops_per_image: float  # forward and backward, through all networks
    peaks: Mapping[str, float]  # operations a second, by the name that CUDA gives a GPU

    def values(self, images_per_s: float, workers: int, device: str) -> dict[str, float]:
        """The metric for a pace of all workers; empty on a device whose peak is not known."""
        peak = self.peaks.get(device)
        if peak is None:
            return {}
        return {METRIC: images_per_s * self.flops_per_image / (workers * peak)}


def utilisation(recipe: Recipe, device: str, table: Path) -> Utilisation | None:
    """Count a recipe, with the peaks of a table of GPUs. None for a device without a peak, and
    where it cannot be counted: for a number less in its reports no run shall fail to start."""
    if device != "cuda":
        return None
    try:
        peaks = {name: gpu.peak(recipe) for gpu in read_gpus(table) for name in gpu.devices}
        return Utilisation(flops_per_image(recipe), peaks)
    except Exception as error:
        log.warning("what an image takes was not counted, so reports say no MFU: %s", error)
        return None


def flops_per_image(recipe: Recipe) -> float:
    """Floating-point operations of one image, forward and backward, nothing computed again."""
    # With DeepSpeed, which a driver does without where nothing is counted.
    from system.launch.plan.shadow import count
    from system.launch.plan.shadow import shadow

    flow = recipe.flow.model_copy(update={"checkpoint_activations": False})
    made = shadow(recipe.model_copy(update={"flow": flow}), "cuda")
    return count(made, COUNTED).flops / COUNTED
