"""What `jobs/reference_statistics.py` is asked, and how it makes a reference once.

Images go through the detector in units of work, as drawn ones do; moments are added up in order.
The place of a reference is named by everything that decides its bits, so a second call finds it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from typing import Literal

import numpy as np
import safetensors
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from data_pipeline.shards.manifest import read_manifest
from data_pipeline.shards.shard import Split
from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.crews.any_crew import any_crew
from system.evaluation.crews.features import Features
from system.evaluation.crews.features import features_of
from system.evaluation.crews.request import FeatureRequest
from system.evaluation.measured import device_of
from system.evaluation.presets import KEPT
from system.evaluation.presets import PRESETS
from system.evaluation.presets import Preset
from system.evaluation.presets import detector_of
from system.evaluation.protocol import Detector
from system.evaluation.reference.reference import Provenance
from system.evaluation.reference.reference import Reference
from system.evaluation.reference.stored import is_stored
from system.evaluation.reference.stored import read_stored
from system.evaluation.reference.stored import write_reference
from system.evaluation.sources.archive import ArchiveImages
from system.evaluation.sources.archive import reference_images
from system.evaluation.sources.folder import FolderImages
from system.evaluation.sources.folder import folder_images
from system.evaluation.sources.shards import ShardImages
from system.evaluation.sources.shards import shard_images
from system.evaluation.statistics import streamed
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.settings.data import Data
from system.foundation.settings.record import PositiveInt
from system.foundation.settings.record import Record
from system.foundation.streams import generator

RealImages = ShardImages | ArchiveImages | FolderImages
Cluster = Callable[[], AbstractContextManager[None]]


class ReferenceRequest(Record):
    """Real images whose statistics to compute, and by which protocol."""

    preset: Literal["adm_50k", "torch_fidelity", "tarflow", "dinov2", "digits"] = Field(
        "adm_50k", description="the protocol that the reference is for"
    )
    detector: str | None = Field(None, description="path or url of the detector's weights; needed")
    detector_sha256: str | None = Field(
        None, description="digest of other weights than the published ones; null: the published"
    )
    resize: str | None = Field(
        None, description="rule that brings images to the detector's size; null: the preset's usual"
    )
    shards: str | None = Field(None, description="folder or url of shards with the real images, or")
    archive: str | None = Field(None, description="an npz whose arr_0 they are, or")
    folder: str | None = Field(None, description="a folder of PNG files")
    split: Split = Field("train", description="of shards")
    images: PositiveInt | None = Field(
        None, description="of shards: so many, drawn by the seed; null takes the whole split"
    )
    seed: int = Field(0, ge=0, description="of which images are drawn, and which are mirrored")
    image_size: PositiveInt | None = Field(
        None, description="of shards: side of the square images; null takes what they hold"
    )
    crop: Literal["none", "adm", "centre"] = Field(
        "adm", description="of shards; the preset tarflow has its own"
    )
    out: str = Field("references", description="folder or url below which references lie")
    workers: int = Field(0, ge=0, description="Ray actors; 0 computes in this process")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where to compute")
    batch: PositiveInt = Field(256, description="images per unit of work; changes no number")


def reference_to_lines(request: ReferenceRequest, cluster: Cluster) -> str:
    """Make a reference or find it made; where it lies, its digest, and what it holds."""
    reference = make_reference(request, cluster)
    made = reference.provenance
    assert made is not None
    return "\n".join(
        (
            f"reference  {reference.url}",
            f"digest     {reference.digest}",
            f"images     {made.count} of {made.height}x{made.width}, features of {made.kept} kept",
            f"detector   {made.detector.name}, resize {made.detector.resize}",
            f"weights    {made.detector.digest}",
        )
    )


def make_reference(request: ReferenceRequest, cluster: Cluster) -> Reference:
    """The reference that a request describes: read where it is made, else made and stored.

    Raises BadInput for a request that does not say what is needed or asks what cannot be; what is
    computed by then is kept, and found by the next call.
    """
    preset = PRESETS[request.preset]
    source = real_images(request, preset)
    if request.detector is None:
        raise BadInput("detector is missing; expected the path or url of the detector's weights")
    detector = detector_of(
        preset, request.detector, resize=request.resize, digest=request.detector_sha256
    )
    asked = FeatureRequest(
        source=source,
        detectors=(detector,),
        device=device_of(request.device),
        batch=request.batch,
    )
    place = storage.join(request.out, f"{preset.name}-{asked.key[:16]}")
    if is_stored(place):
        return read_stored(place)
    with any_crew(request.workers, request.device, cluster) as crew:
        features = features_of(asked, storage.join(request.out, "units"), crew)
        seen = Detector(name=detector.name, digest=detector.digest, resize=detector.resize)
        with exact_arithmetic(threads=1):  # sums of products depend on the number of threads
            reference = _stored(features, _provenance(source, preset, seen, asked.key), place)
    features.forget()
    return reference


def real_images(request: ReferenceRequest, preset: Preset) -> RealImages:
    """The images that a request names. Raises BadInput unless it names one kind of them."""
    named = [key for key in ("shards", "archive", "folder") if getattr(request, key) is not None]
    if len(named) != 1:
        raise BadInput(
            f"found {' and '.join(named) or 'none'} of shards, archive and folder; expected one: "
            "where the real images are"
        )
    if request.shards is not None:
        return _of_shards(request, preset, request.shards)
    if preset.path != "plain" or request.images is not None:
        raise BadInput(
            f"{named[0]}={getattr(request, named[0])} has images as they are, and all are taken; "
            f"expected shards=... for preset={preset.name} or images={request.images}"
        )
    if request.archive is not None:
        return reference_images(request.archive)
    assert request.folder is not None
    return folder_images(request.folder)


def _of_shards(request: ReferenceRequest, preset: Preset, shards: str) -> ShardImages:
    manifest = read_manifest(shards)
    size = request.image_size or manifest.image_size
    if size is None:
        raise BadInput(f"{shards} holds images of several sizes; expected image_size=...")
    data = Data(
        shards=shards,
        image_size=size,
        image_channels=1 if manifest.channels == 1 else 3,
        classes=manifest.classes,
        crop=request.crop,
    )
    return shard_images(
        data,
        request.split,
        count=request.images,
        choice="seeded",
        seed=request.seed,
        path=preset.path,
    )


def _stored(features: Features, provenance: Provenance, place: str) -> Reference:
    name = provenance.detector.name
    spatial = streamed(features.parts(name, "spatial"))
    return write_reference(
        place,
        provenance,
        streamed(features.parts(name, "features")),
        spatial if len(spatial.mean) else None,
        _kept(features, name, provenance.kept),
    )


def _provenance(source: RealImages, preset: Preset, detector: Detector, key: str) -> Provenance:
    return Provenance(
        preset=preset.name,
        source=source.model_dump(mode="json", exclude={"url"}),
        detector=detector,
        path=preset.path,
        count=source.count,
        height=source.height,
        width=source.width,
        channels=source.channels,
        kept=min(KEPT, source.count),
        versions=_versions(),
        key=key,
    )


def _kept(features: Features, name: str, count: int) -> Float[Tensor, "N F"]:
    """Features of so many images, chosen by a fixed permutation, in the order of their numbers."""
    order = generator(0, "evaluation/kept").permutation(features.count)
    chosen = torch.from_numpy(np.sort(order[:count]))
    rows, first = [], 0
    for part in features.parts(name, "features"):
        inside = (chosen >= first) & (chosen < first + len(part))
        rows.append(part[chosen[inside] - first])
        first += len(part)
    return torch.cat(rows)


def _versions() -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "safetensors": safetensors.__version__,
    }
