"""What drawn images are measured against: moments of real ones, and how these were made.

A reference is of one detector, with one rule that brings images to its size, on real pixels that
went one way. Against drawn images that were looked at otherwise it gives a number all the same, and
the number means nothing: so every use is checked first.
"""

from dataclasses import dataclass
from typing import Any
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from system.evaluation.presets import Preset
from system.evaluation.protocol import Detector
from system.evaluation.protocol import Digest
from system.evaluation.protocol import PresetName
from system.evaluation.sources.shards import Path
from system.evaluation.statistics import FeatureStatistics
from system.foundation.errors import BadInput
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

ADM_RULE = "tf1_bilinear"  # of the network that ADM's moments are of


class Provenance(Record):
    """How a reference of our own was made."""

    version: Literal[1] = 1
    preset: PresetName
    source: dict[str, Any]  # the record of the images, without where they lay
    detector: Detector
    path: Path  # what happened to pixels before the detector saw them
    count: PositiveInt
    height: PositiveInt
    width: PositiveInt
    channels: Literal[1, 3]
    kept: PositiveInt  # images whose features are kept, chosen by a fixed permutation
    moments_dtype: Literal["float64"] = "float64"
    versions: dict[str, str]
    key: Digest  # of the request that it answers


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Moments by kind of feature, and what else scores need of real images."""

    url: str
    digest: str  # of the content
    provenance: Provenance | None  # None: ADM's npz, taken for what was published
    moments: FeatureStatistics | None
    spatial: FeatureStatistics | None
    kept: Float[Tensor, "N F"] | None  # features of single images
    shown: tuple[int, ...] | None = None  # count, height, width, channels of images in ADM's npz
    knows_count: bool = True  # ADM's npz does not say of how many images its moments are

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the real images; None where nobody said."""
        if self.provenance is not None:
            return self.provenance.height, self.provenance.width
        return None if self.shown is None else (self.shown[1], self.shown[2])

    def names(self) -> str:
        """What it is, for a protocol: the digest, and the kind of reference."""
        kind = "ADM's npz" if self.provenance is None else f"{self.provenance.count} images"
        return f"{self.digest}: {kind}"


def refuse_other_protocols(reference: Reference, preset: Preset, detector: Detector) -> None:
    """Raise BadInput, with all that differs, where a reference was not made as a preset and a
    detector would make it."""
    found = _differences(reference, preset, detector)
    if found:
        raise BadInput(
            f"{reference.url}: this reference was made by another protocol than {preset.name} with "
            f"{detector.name}: {'; '.join(found)}. Make one that fits (jobs/reference_statistics.py"
            f" preset={preset.name}), or measure by the protocol that it was made by"
        )


def _differences(reference: Reference, preset: Preset, detector: Detector) -> list[str]:
    made = reference.provenance
    if made is None:
        return [] if preset.reads_adm and detector.resize == ADM_RULE else [_adm_is(detector)]
    pairs = (
        ("detector", made.detector.name, detector.name),
        ("digest of its weights", made.detector.digest, detector.digest),
        ("resize", made.detector.resize, detector.resize),
        ("way of the pixels", made.path, preset.path),
    )
    return [f"{what} is {is_}, expected {wanted}" for what, is_, wanted in pairs if is_ != wanted]


def _adm_is(detector: Detector) -> str:
    return (
        f"it is ADM's npz, of the Inception network with resize {ADM_RULE} on plain pixels; "
        f"expected {detector.name} with resize {detector.resize}, or a preset that reads it"
    )
