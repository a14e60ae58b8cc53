"""What depends on how far a run is: learning rate, averaging decay, and what is due.

All are pure functions of images seen or updates made, so a resumed run needs no state for them.
"""

import math

from system.foundation.settings.engine import Constant
from system.foundation.settings.engine import Cosine
from system.foundation.settings.engine import Engine


def learning_rate(
    schedule: Constant | Cosine, peak: float, images_seen: int, total_images: int
) -> float:
    """The learning rate of the update that ends at `images_seen`."""
    if images_seen < schedule.warmup_images:
        return peak * images_seen / schedule.warmup_images
    match schedule:
        case Constant():
            return peak
        case Cosine(warmup_images=warmup, final_fraction=final):
            end = schedule.horizon_images or total_images
            done = min(1.0, (images_seen - warmup) / max(1, end - warmup))
            return peak * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done)))


def averaging_decays(settings: Engine, updates: int) -> list[float]:
    """The decay of each average of the weights at the update after `updates` others."""
    if not settings.averaging_warmup:
        return [*settings.decays]
    return [min(decay, (1 + updates) / (10 + updates)) for decay in settings.decays]


def is_due(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return after // every > before // every
