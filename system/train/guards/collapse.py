"""Whether a part of the model has died: latents that say nothing, parts that no gradient reaches.

A collapse does not show in the loss, which may well go down: the flow models pure noise best.
"""

from collections import Counter

from system.foundation.errors import NumericsError
from system.foundation.recipe import Recipe
from system.foundation.settings.autoencoder import Convolutional
from system.objectives.routes import ROUTES


class Collapse:
    """Counts the reports in a row that find a part dead."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._in_a_row: Counter[str] = Counter()

    def check(self, images_seen: int, values: dict[str, float]) -> None:
        """Take note of a report. Raises NumericsError at the last one that is allowed."""
        allowed = self._recipe.guards.collapse.reports
        if not allowed or images_seen <= self._recipe.engine.schedule.warmup_images:
            return
        found = lifeless(self._recipe, values)
        self._in_a_row = Counter({what: self._in_a_row[what] + 1 for what in found})
        for what, why in found.items():
            if self._in_a_row[what] >= allowed:
                raise NumericsError(
                    f"{what} in {self._in_a_row[what]} reports in a row, up to {images_seen:,} "
                    f"images: {why}. guards.collapse.reports=0 goes on regardless"
                )


def lifeless(recipe: Recipe, values: dict[str, float]) -> dict[str, str]:
    """What a report finds dead, with its numbers, causes and cures."""
    found = {}
    trained, least = ROUTES[recipe.objective.route].trained, recipe.guards.collapse.signal_to_noise
    spread, noise = values.get("latent/batch_std"), values.get("latent/posterior_std")
    has_encoder = "encoder" in trained and isinstance(recipe.autoencoder, Convolutional)
    if has_encoder and spread is not None and noise and spread < least * noise:
        found["the posterior has collapsed"] = (
            f"latent/batch_std is {spread:.3g} beside latent/posterior_std {noise:.3g}, below "
            f"guards.collapse.signal_to_noise {least:g}: the latents of all images are the same "
            "but for noise. Give objective.reconstruction.weight more weight, "
            "objective.likelihood.weight less, or autoencoder.posterior a smaller spread"
        )
    if values.get("train/gradient_norm") == 0.0:
        found["no gradient reaches any weight"] = (
            "train/gradient_norm is 0: the loss does not depend on the weights. Look at the "
            "weights of objective.* and at values that have saturated"
        )
    for part in sorted(trained):
        if values.get(f"train/{part}_gradient") == 0.0:
            found[f"no gradient reaches the {part}"] = (
                f"train/{part}_gradient is 0, though objective.route {recipe.objective.route} "
                "trains it. Look for values that have saturated, for weights of objective.* that "
                "are 0, and for precision (engine.precision=fp32 tells)"
            )
    return found
