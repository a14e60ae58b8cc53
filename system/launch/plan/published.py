"""How fast models of this kind went where somebody says so: the share of the peak they reached.

A share has two sources: a printed speed, and our own count of the operations of the model that it
was printed of, which the suite `scaling` of jobs/benchmark.py repeats. The runs are papers' own
code on their own networks; what these cost is in the share.
"""

from dataclasses import dataclass

from system.foundation.recipe import Recipe

H100_FLOPS = 989e12  # dense bf16 by its data sheet; an H800 computes as fast


@dataclass(frozen=True, slots=True)
class Published:
    """A published run."""

    name: str
    images_per_gpu_s: float
    image_flops: float  # of the same shape, forward and backward, by our count
    recipe: str  # that has the shape, with `settings`
    settings: tuple[str, ...]
    source: str

    @property
    def mfu(self) -> float:
        """The share of the peak that it reached."""
        return self.images_per_gpu_s * self.image_flops / H100_FLOPS


# An autoencoder and a flow that learn together. 475M parameters and 256 tokens are told, the split
# of the flow is not: this one comes to as many.
JOINT = Published(
    name="SimFlow-L",
    images_per_gpu_s=2.83 * 16,
    image_flops=1.84e12,
    recipe="simflow_256.yaml",
    settings=("flow.width=1024", "flow.depths=[2,2,2,2,2,15]"),
    source="2.83 updates a second of 16 images a GPU on 8 H800 (arXiv 2606.26016)",
)
# A flow alone, on latents or on pixels.
FLOW = Published(
    name="STARFlow",
    images_per_gpu_s=400e6 / (14 * 86400 * 32),
    image_flops=10.4e12,
    recipe="starflow_256.yaml",
    settings=(),
    source="400 million images in about two weeks on 32 H100 (arXiv 2506.06276)",
)


def published(recipe: Recipe) -> Published:
    """The run that is most like a recipe."""
    return FLOW if recipe.objective.route == "frozen" else JOINT
