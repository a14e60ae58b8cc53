"""Which detector looks at images, as a record of plain values that every worker can open.

    choice = inception_choice("weights/pt_inception-2015-12-05-6726825d.pth", "tf1_bilinear")
    detector = open_detector(choice, device="cuda")

A record holds the digest of the weights as its maker found them; where a worker finds others behind
the same path or url, it refuses them.
"""

from functools import lru_cache
from typing import Annotated
from typing import Literal

from pydantic import Field

from system.evaluation.detectors.detector import Detector
from system.evaluation.detectors.digits import DigitsDetector
from system.evaluation.detectors.digits import open_digits
from system.evaluation.detectors.digits import read_digits
from system.evaluation.detectors.inception import InceptionDetector
from system.evaluation.detectors.inception import inception_name
from system.evaluation.detectors.inception import read_inception
from system.evaluation.detectors.resize import Rule
from system.evaluation.detectors.weights import INCEPTION
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

# How a transformer's position embeddings come to another grid: as timm does it, with antialiasing,
# or as DINOv2's own code does, without it and on a grid that is a tenth of a cell larger.
Positions = Literal["timm", "dinov2"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32,}$")]


class InceptionChoice(Record):
    """The Inception-v3 of Frechet distances, with a rule that brings images to its size."""

    kind: Literal["inception"] = "inception"
    weights: str  # path or url
    digest: Digest
    resize: Rule

    @property
    def name(self) -> str:
        """Names the detector among those of one request."""
        return inception_name(self.resize)


class VisionChoice(Record):
    """A timm model at a size of images, pooled as it was trained to be."""

    kind: Literal["timm"] = "timm"
    model: str  # timm's name
    weights: str  # path or url
    digest: Digest
    size: PositiveInt  # side of the images it is shown, in pixels
    resize: Rule
    classes: Annotated[int, Field(ge=0)]  # 0 where the weights have no classifier
    mean: tuple[float, ...]  # of a colour, for levels from 0 to 1
    std: tuple[float, ...]
    positions: Positions

    @property
    def name(self) -> str:
        """Names the detector among those of one request."""
        return f"{self.model}-{self.size}_{self.resize}_{self.positions}-positions"


class DigitsChoice(Record):
    """The detector that `digits_detector` trained and stored."""

    kind: Literal["digits"] = "digits"
    weights: str  # path or url
    digest: Digest
    channels: PositiveInt
    classes: PositiveInt
    width: PositiveInt
    features: PositiveInt

    @property
    def name(self) -> str:
        """Names the detector among those of one request."""
        return DigitsDetector.name

    @property
    def resize(self) -> str:
        """It takes images as they are."""
        return DigitsDetector.resize


AnyDetector = Annotated[InceptionChoice | VisionChoice | DigitsChoice, Field(discriminator="kind")]


def inception_choice(
    weights: str, resize: Rule, expected: str | None = INCEPTION.sha256
) -> InceptionChoice:
    """The choice of the Inception network whose weights lie at a path or url.

    `expected` is the sha256 that the file has to have; None takes any weights that fit, whose own
    digest the choice and every protocol then say. Raises BadInput for an absent, damaged or other
    file.
    """
    _, digest = read_inception(weights, expected)
    return InceptionChoice(weights=weights, digest=digest, resize=resize)


def digits_choice(weights: str) -> DigitsChoice:
    """The choice of the digits detector that is stored at a path or url.

    Raises DataError where there is none, or a damaged one.
    """
    network = read_digits(weights)
    return DigitsChoice(
        weights=weights,
        digest=DigitsDetector(network).digest,
        channels=network.channels,
        classes=network.classes,
        width=network.width,
        features=network.features,
    )


@lru_cache(maxsize=4)
def open_detector(choice: AnyDetector, device: str = "cpu") -> Detector:
    """The detector of a choice, on a device; opened once in a process.

    Raises BadInput where its weights are absent, damaged, or not those of the choice.
    """
    match choice:
        case InceptionChoice():
            network, digest = read_inception(choice.weights, choice.digest)
            return InceptionDetector(network, digest=digest, resize=choice.resize, device=device)
        case VisionChoice():
            from system.evaluation.detectors.vision import open_vision  # timm takes its time

            return open_vision(choice, device)
        case DigitsChoice():
            return open_digits(choice.weights, choice.digest, device)
