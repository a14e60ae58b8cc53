"""A request that names what judges a checkpoint's images: the protocol, its detector and reference.

What it leaves unsaid is the run's own evaluation. Of a run that is evaluated in another way, or not
at all, the sampler alone is left.
"""

from collections.abc import Mapping
from typing import Annotated
from typing import Any
from typing import Literal

from pydantic import Field

from system.evaluation.measured import Chosen
from system.foundation.config import record_from_mapping
from system.foundation.recipe import Recipe
from system.foundation.settings.evaluation import DigitsEvaluation
from system.foundation.settings.evaluation import InFlight
from system.foundation.settings.evaluation import LabelMode
from system.foundation.settings.evaluation import NoEvaluation
from system.foundation.settings.evaluation import Preset
from system.foundation.settings.evaluation import ReferenceEvaluation
from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.record import PositiveInt

AS_THE_RUN = "null takes the run's"
# Keys of a request that are keys of evaluations as well.
KEYS = (
    *("reference", "detector", "detector_sha256", "resize", "labels", "lpips", "seed"),
    *("batch", "batches_in_flight"),
)


class Judged(Chosen):
    """A checkpoint, what to measure it by, who computes, and where the numbers go."""

    kind: Literal["digits"] | Preset | None = Field(
        None, description=f"the protocol: see system/evaluation/presets.py; {AS_THE_RUN}"
    )
    reference: str | None = Field(
        None, description=f"ADM's npz, or what jobs/reference_statistics.py wrote; {AS_THE_RUN}"
    )
    detector: str | None = Field(
        None, description=f"path or url of the detector's weights; {AS_THE_RUN}"
    )
    detector_sha256: str | None = Field(
        None, description="digest of other weights than the published ones; null: the published"
    )
    resize: str | None = Field(
        None, description="rule that brings images to the detector's size; null: the usual one"
    )
    labels: LabelMode | None = Field(None, description=f"classes to draw for; {AS_THE_RUN}")
    seed: Annotated[int, Field(ge=0)] | None = Field(
        None, description=f"of noise, labels and halves; {AS_THE_RUN}"
    )
    batch: PositiveInt | None = Field(
        None, description="images per unit of work: what an interruption costs; changes no number"
    )
    batches_in_flight: InFlight | None = Field(
        None,
        description=f"passes of a unit that are drawn at once; changes no number; {AS_THE_RUN}",
    )
    workers: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Ray actors that draw, on the cluster at RAY_ADDRESS or a private one; 0: this "
        "process alone; changes no number",
    )
    shards: str | None = Field(
        None, description="folder or url with the shards; null takes what the run was trained on"
    )
    out: str | None = Field(
        None, description="folder or url for what is written; null is the run's own folder"
    )

    def said(self) -> dict[str, Any]:
        """What the request says of an evaluation, in words of its settings."""
        values = {key: getattr(self, key) for key in KEYS if key in type(self).model_fields}
        return {key: value for key, value in values.items() if value is not None}


def settings_of(
    recipe: Recipe, kind: str | None, changes: Mapping[str, Any]
) -> DigitsEvaluation | ReferenceEvaluation:
    """The run's evaluation with changes; of another kind, its sampler alone stays.

    Raises RecipeError for keys that this kind does not know, or that it lacks.
    """
    own = recipe.evaluation
    kept: dict[str, Any] = {"every_images": recipe.run.checkpoint_every_images}
    kind = kind or ("digits" if isinstance(own, NoEvaluation) else own.kind)
    if own.kind == kind:
        kept = own.model_dump(mode="json")
    elif not isinstance(own, NoEvaluation):
        kept |= Sampler(**own.model_dump(include=set(Sampler.model_fields))).model_dump(mode="json")
    settings = {**kept, **changes, "kind": kind}
    if kind == "digits":
        return record_from_mapping(settings, DigitsEvaluation)
    return record_from_mapping(settings, ReferenceEvaluation)
