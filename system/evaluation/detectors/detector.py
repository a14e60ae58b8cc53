"""What a metric's detector is: a frozen network, known by its weights and by how it is fed.

    detector = open_detector(choice, device="cpu")
    seen = detector.look(images)

A choice is a record of plain values (`choice.py`), so that every worker opens the same detector by
itself.
"""

from abc import ABC
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from jaxtyping import UInt8
from torch import Tensor

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.passes import PASS

# Images of one pass over a large network, whatever the batch; each divides PASS, which units of
# work are aligned to. A device decides bits anyway, so each may have what suits it.
PASSES = MappingProxyType({"cpu": 4, "cuda": 64})
KINDS = ("features", "spatial", "logits")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a detector makes of images, float32 on the CPU; width 0 is what it does not have."""

    features: Float[Tensor, "N F"]
    spatial: Float[Tensor, "N S"]  # of every cell of a grid, channels innermost
    logits: Float[Tensor, "N classes"]

    @staticmethod
    def joined(parts: "list[Seen]") -> "Seen":
        """Consecutive parts as one."""
        return Seen(*(torch.cat([getattr(part, kind) for part in parts]) for kind in KINDS))

    def first(self, count: int) -> "Seen":
        """What was made of the first `count` images."""
        return Seen(self.features[:count], self.spatial[:count], self.logits[:count])


class Detector(ABC):
    """A frozen network that looks at 8-bit images of any size it accepts."""

    name: str
    digest: str  # of its weights, hexadecimal
    resize: str  # the rule that brings images to its size; "none" where it takes them as they are

    @abstractmethod
    def look(self, image: UInt8[Tensor, "N C H W"]) -> Seen:
        """What it makes of each image, the same bits whatever stands beside it in the batch.

        Images are looked at in passes of a fixed size, the last one filled up. Raises DataError for
        images that it cannot look at, before any pass.
        """


@torch.no_grad()
def look_in_passes(
    image: UInt8[Tensor, "N C H W"], look: Callable[[Tensor], Seen], size: int = PASS
) -> Seen:
    """What `look` makes of images, shown `size` at a time; the last pass is filled with black."""
    parts = []
    with exact_arithmetic(torch.get_num_threads()):
        for shown in image.split(size) if len(image) else [image]:
            missing = size - len(shown)
            filled = torch.cat([shown, shown.new_zeros(missing, *shown.shape[1:])])
            parts.append(look(filled).first(len(shown)))
    return Seen.joined(parts)
