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
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32,}$")]


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


AnyDetector = DigitsChoice


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
    return open_digits(choice.weights, choice.digest, device)
