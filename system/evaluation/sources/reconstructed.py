"""Real images as an autoencoder gives them back: through the latent's mean, or a draw of it."""

from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from system.evaluation.encoding import encode
from system.evaluation.encoding import latent_noise
from system.evaluation.passes import PASS
from system.evaluation.passes import passes
from system.evaluation.rounding import Rule
from system.evaluation.rounding import broken
from system.evaluation.rounding import quantised
from system.evaluation.rounding import refuse_broken
from system.evaluation.sources.shards import ShardImages
from system.evaluation.sources.shards import open_shards
from system.evaluation.sources.source import Source
from system.evaluation.subject import Subject
from system.evaluation.subject import read_known
from system.evaluation.subject import subject_digest
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.settings.record import Record


class ReconstructedImages(Record):
    """Which images to encode and decode: the weights, the images, and which latent of each."""

    kind: Literal["reconstructed"] = "reconstructed"
    checkpoint: str  # absolute path or url
    decay: float | None  # of the average that is meant; None for the recipe's first
    digest: str  # of the averaged weights and the architecture
    shards: ShardImages
    draws: Literal[0, 1]  # 0: through the posterior's mean
    seed: int  # of the draw
    rounding: Rule

    @property
    def count(self) -> int:
        """How many images there are."""
        return self.shards.count


def reconstructed_images(
    subject: Subject,
    checkpoint: str,
    shards: ShardImages,
    *,
    draws: Literal[0, 1],
    seed: int = 0,
    rounding: Rule = "half_to_even",
    decay: float | None = None,
) -> ReconstructedImages:
    """These images through a checkpoint whose weights, averaged by `decay`, `subject` holds.

    Raises BadInput where the images are not of the size that its model takes.
    """
    data = subject.recipe.data
    if (shards.size, shards.channels) != (data.image_size, data.image_channels):
        raise BadInput(
            f"{shards.url}: images are read as {shards.size} pixels and {shards.channels} channels,"
            f" but the model of {checkpoint} takes {data.image_size} pixels and "
            f"{data.image_channels} channels. Read them as the run does"
        )
    return ReconstructedImages(
        checkpoint=storage.absolute(checkpoint),
        decay=subject.decay if decay is None else decay,
        digest=subject_digest(subject),
        shards=shards,
        draws=draws,
        seed=seed,
        rounding=rounding,
    )


class ReconstructedSource(Source):
    """An opened autoencoder before opened shards."""

    def __init__(self, record: ReconstructedImages, subject: Subject, real: Source) -> None:
        self.record = record
        self.subject = subject
        self.real = real

    @torch.no_grad()
    def images(self, index: range) -> UInt8[Tensor, "N C H W"]:
        """These images, encoded and decoded in passes of a fixed size.

        Raises NumericsError for those that come back not finite, all counted, and DataError for
        real ones that cannot be read.
        """
        parts, bad = [], []
        for whole, asked in passes(index):
            decoded = self._decoded(whole)[asked]
            bad += broken(decoded, whole[asked])
            parts.append(quantised(decoded, self.record.rounding))
        refuse_broken(bad, len(index))
        return torch.cat(parts)

    def _decoded(self, index: range) -> Tensor:
        """The decoder's images of a pass, which beyond the last image is filled up with it."""
        real = self.real.images(range(index.start, min(index.stop, self.record.count)))
        filling = real[-1:].expand(PASS - len(real), -1, -1, -1)
        posterior = encode(self.subject, torch.cat([real, filling]))
        latent = posterior.mean
        if self.record.draws:
            noise = latent_noise(self.subject, self.record.seed, index, draw=0)
            latent = posterior.sample(noise)
        return self.subject.model.autoencoder.decode(latent)


def open_reconstructed(record: ReconstructedImages, device: str) -> ReconstructedSource:
    """Read weights and manifest. Raises BadInput where they are not those of the record."""
    subject = read_known(record.checkpoint, record.digest, device, decay=record.decay)
    return ReconstructedSource(record, subject, open_shards(record.shards))
