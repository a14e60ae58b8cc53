"""How a number was measured: a frozen, hashed record, without which no result can be written.

Two numbers may be compared when their protocols are equal, and then their digests are; what they
were measured of (which weights, whose samples) is no part of it. Parts that a metric does not use
are None: a density has no detector, a reconstruction is not drawn. Every part must be said.
"""

import hashlib
import json
from typing import Annotated
from typing import Any
from typing import Literal

from pydantic import Field
from pydantic import field_serializer
from pydantic import field_validator

from system.evaluation.probe_classifiers import Classifier
from system.foundation import storage
from system.foundation.settings.evaluation import JACOBI_DETAILS
from system.foundation.settings.evaluation import Sampler
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.telemetry.metric import UNCERTAINTY

Text = Annotated[str, Field(min_length=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32,}$")]
PresetName = Literal[
    "adm_50k", "torch_fidelity", "tarflow", "dinov2", "digits", "latents", "probe", "nearest"
]
DECODING = {"decoding", *JACOBI_DETAILS}
Rounding = Literal["half_to_even", "half_up", "truncate", "given"]


class Detector(Record):
    """The frozen network that looks at images, and how images are made ready for it."""

    name: Text
    digest: Digest  # of its weights
    resize: Text  # the rule that brings images to its size; "none" where it takes them as they are


class Drawing(Record):
    """How images were drawn from the flow. Image i is a function of (seed, i) alone."""

    labels: Literal["random", "balanced", "train_frequency", "fixed", "none"]
    seed: int
    sampler: Sampler

    @field_validator("sampler")
    @classmethod
    def _what_matters(cls, sampler: Sampler) -> Sampler:
        """Keys that change nothing are no part of a protocol."""
        return sampler.effective()

    @field_serializer("sampler")
    def _what_is_said(self, sampler: Sampler) -> dict[str, Any]:
        """Keys that came after the first records are written where they are at work: what was
        drawn token by token before has the digest that it had."""
        content = sampler.model_dump(mode="json")
        if sampler.decoding == "tokens":
            content = {key: value for key, value in content.items() if key not in DECODING}
        return content


class Latents(Record):
    """Which latents of an image were used: its posterior's mean (0 draws), or draws from it."""

    draws: Annotated[int, Field(ge=0)]
    seed: int


class Probe(Record):
    """A linear classifier on frozen features: where they are from, and how it is fitted."""

    block: Annotated[int, Field(ge=0)]  # from the data side
    layers: PositiveInt
    weights: Literal["trained", "fresh"]
    pooling: Literal["mean"]  # over tokens
    told: int | None  # the class that the flow was told for every image; None for the null class
    classifier: Classifier  # what it has to choose is chosen on images held back of the training
    seed: int


class Splits(Record):
    """How an Inception Score cuts its images: in what order, and into how many parts."""

    kind: Literal["splits"] = "splits"
    count: PositiveInt
    order: Literal["given", "keyed_permutation", "numpy_mt19937"]  # the last is torch-fidelity's
    seed: int | None  # of the order; None for the order given
    logits: Literal["with_bias", "without_bias"]


class Neighbours(Record):
    """How precision and recall ask whether an image lies among others."""

    kind: Literal["neighbours"] = "neighbours"
    k: PositiveInt
    distance_dtype: Literal["float32", "float16_adm", "float64"]
    references: PositiveInt  # real images; both scores depend on the sizes of both sets


class Subsets(Record):
    """The random subsets that a kernel distance is the mean over; the kernel is the cubic one."""

    kind: Literal["subsets"] = "subsets"
    count: PositiveInt
    size: PositiveInt
    seed: int


Scoring = Annotated[Splits | Neighbours | Subsets, Field(discriminator="kind")]


class Protocol(Record):
    """Everything that decides a number, besides what it is measured of."""

    preset: PresetName
    metric: Text
    definition: Text | None  # and version of a statistic that has no canonical form
    samples: PositiveInt  # on the measured side
    reference: Text  # the real images on the other side: digest of the data, and which of them
    averaging_decay: float | None  # of the averaged weights; None for samples of anyone's
    compute_dtype: Literal["float32"]
    moments_dtype: Literal["float64"] | None
    rounding: Rounding | None  # of pixels, from [-1, 1] to 8 bits; given: they came as 8 bits
    detector: Detector | None
    drawing: Drawing | Literal["given"] | None  # given: samples of anyone's, drawn who knows how
    latents: Latents | None
    probe: Probe | None
    scoring: Scoring | None
    groups: PositiveInt | None  # of the jackknife that standard error and correction come from

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that name this protocol: equal for equal ones, and no others."""
        text = json.dumps(_plain(self.model_dump(mode="json")), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Measurement(Record):
    """A number with the protocol that made it."""

    name: Annotated[str, Field(pattern=r"^evaluation/[a-z0-9_]+$")]
    value: float
    protocol: Protocol
    standard_error: Annotated[float, Field(ge=0)] | None = None
    corrected: float | None = None  # for the bias of few samples, where the protocol knows it
    interval: tuple[float, float] | None = None  # covers in 95 of 100 cases what samples hide
    bias: float | None = None  # of few samples, as theory has it for Gaussian features


class Evaluation(Record):
    """All that was measured of one checkpoint, or of samples of anyone's.

    Equal results are written as the same bytes: neither time nor place is part of the record.
    """

    images_seen: Annotated[int, Field(ge=0)]  # 0 for samples of anyone's
    checkpoint: Text  # its name, or that of the samples: the last part of the url given
    content: Digest | None = None  # digest of the weights, or of the samples
    preset: PresetName
    measurements: tuple[Measurement, ...]
    seconds: dict[str, float]  # by stage; for the ledger alone, never written here

    @field_validator("checkpoint")
    @classmethod
    def _name(cls, url: str) -> str:
        return url.rstrip("/").rpartition("/")[2]

    @field_validator("measurements")
    @classmethod
    def _no_name_twice(cls, measurements: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
        names = [measured.name for measured in measurements]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"measurements has {', '.join(twice)} more than once; expected one number under "
                "each name. Evaluate each protocol into a record of its own"
            )
        return measurements

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
    """Write the record into a run's folder, whole or not at all; the url it has there.

    Everything is checked once more: a record that was put together past its checks is refused
    with pydantic's ValidationError, and nothing is written.
    """
    evaluation = Evaluation.model_validate(evaluation.model_dump())
    content: dict[str, Any] = evaluation.model_dump(
        mode="json", exclude={"measurements", "seconds"}
    )
    content["measurements"] = {
        measured.name: described(measured) for measured in evaluation.measurements
    }
    url = evaluation.place(run_folder)
    storage.write_bytes(url, (json.dumps(content, indent=1) + "\n").encode())
    return url


def described(measured: Measurement) -> dict[str, Any]:
    """What a record says of a number besides its name."""
    content = measured.model_dump(mode="json", exclude={"name"})
    return content | {"protocol_digest": measured.protocol.digest}


def _plain(value: Any) -> Any:
    """Plain values with no negative zero, which equals zero but is written otherwise."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return 0.0 if isinstance(value, float) and value == 0 else value
