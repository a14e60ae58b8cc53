"""How a number was measured: a frozen, hashed record, without which no result can be written.

Two numbers may be compared when their protocols differ only in the weights they measure. Parts that
a metric does not use are None: a density has no detector, a reconstruction is not drawn.
"""

import hashlib
import json
from typing import Annotated
from typing import Any
from typing import Literal

from pydantic import Field
from pydantic import field_validator

from system.foundation import storage
from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.record import Record
from system.telemetry.metrics import UNCERTAINTY

Text = Annotated[str, Field(min_length=1)]


class Detector(Record):
    """The frozen network that looks at images, and how images are made ready for it."""

    name: Text
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{32,}$")]  # of its weights
    resize: Literal["none"]


class Drawing(Record):
    """How images were drawn from the flow. Image i is a function of (seed, i) alone."""

    labels: Literal["train_frequency", "balanced", "fixed", "none"]
    seed: int
    sampler: Sampler

    @field_validator("sampler")
    @classmethod
    def _what_matters(cls, sampler: Sampler) -> Sampler:
        """Keys that change nothing are no part of a protocol."""
        return sampler.effective()


class Latents(Record):
    """Which latents of an image were used: its posterior's mean (0 draws), or draws from it."""

    draws: Annotated[int, Field(ge=0)]
    seed: int


class Probe(Record):
    """A linear classifier on frozen features: where they are from, and how it is fitted."""

    block: Annotated[int, Field(ge=0)]  # from the data side
    layers: Annotated[int, Field(gt=0)]
    weights: Literal["trained", "fresh"]
    pooling: Literal["mean"]  # over tokens
    told: int | None  # the class that the flow was told for every image; None for the null class
    classifier: Literal["logistic_regression"]
    penalties: tuple[float, ...]  # one is chosen, on what is held back of the training images
    held_back: float
    seed: int


class Protocol(Record):
    """Everything that decides a number, besides the weights it measures."""

    preset: Literal["digits", "probe"]
    metric: Text
    samples: Annotated[int, Field(gt=0)]  # on the measured side
    reference: Text  # the real images on the other side: digest of the data, and which of them
    averaging_decay: float  # of the averaged weights that were measured
    compute_dtype: Literal["float32"]
    moments_dtype: Literal["float64"] | None
    rounding: Literal["half_to_even"] | None  # of pixels, from [-1, 1] to 8 bits
    detector: Detector | None
    drawing: Drawing | None
    latents: Latents | None
    probe: Probe | None

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that name this protocol."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Measurement(Record):
    """A number with the protocol that made it."""

    name: Annotated[str, Field(pattern=r"^evaluation/[a-z0-9_]+$")]
    value: float
    protocol: Protocol
    standard_error: Annotated[float, Field(ge=0)] | None = None
    corrected: float | None = None  # for the bias of few samples, where the protocol knows it


class Evaluation(Record):
    """All that was measured of one checkpoint, and where the time went."""

    images_seen: Annotated[int, Field(ge=0)]
    checkpoint: Text
    # latents: an analysis on request, with digits' judge; probe: linear probes on request
    preset: Literal["digits", "latents", "probe"]
    measurements: tuple[Measurement, ...]
    seconds: dict[str, float]  # by stage

    def values(self) -> dict[str, float]:
        """Each number by name, for the ledger."""
        values = {}
        for measured in self.measurements:
            values[measured.name] = measured.value
            if measured.standard_error is not None:
                values[measured.name + UNCERTAINTY] = measured.standard_error
        return values | {"evaluation/seconds_s": sum(self.seconds.values())}

    def place(self, run_folder: str) -> str:
        """Where this record lies in a run's folder."""
        return storage.join(run_folder, "eval", f"{self.images_seen:012d}-{self.preset}.json")


def write_evaluation(evaluation: Evaluation, run_folder: str) -> str:
    """Write the record into a run's folder, whole or not at all; the url it has there."""
    content: dict[str, Any] = evaluation.model_dump(mode="json", exclude={"measurements"})
    content["measurements"] = {
        measured.name: measured.model_dump(mode="json", exclude={"name"})
        | {"protocol_digest": measured.protocol.digest}
        for measured in evaluation.measurements
    }
    url = evaluation.place(run_folder)
    storage.write_bytes(url, (json.dumps(content, indent=1) + "\n").encode())
    return url
