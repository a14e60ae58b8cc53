"""A reference from wherever it lies: an npz of ADM's, or a folder of our own.

reference = read_reference("VIRTUAL_imagenet256_labeled.npz")
refuse_other_protocols(reference, PRESETS["adm_50k"], detector)
features = kept_features(reference, choice, "units", AloneCrew())
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from system.evaluation.crews.crew import Crew
from system.evaluation.crews.features import features_of
from system.evaluation.crews.request import FeatureRequest
from system.evaluation.detectors.choice import AnyDetector
from system.evaluation.reference.adm import read_adm
from system.evaluation.reference.reference import Reference
from system.evaluation.reference.stored import is_stored
from system.evaluation.reference.stored import read_stored
from system.evaluation.sources.archive import reference_images
from system.foundation import storage
from system.foundation.errors import BadInput


def read_reference(url: str) -> Reference:
    """The reference at a path or url. Raises BadInput where there is none, DataError for damage."""
    if is_stored(url):
        return read_stored(url)
    if not storage.exists(url):
        raise BadInput(
            f"reference={url}: found nothing there; expected an npz of ADM's evaluator "
            "(VIRTUAL_imagenet256_labeled.npz), or a folder that jobs/reference_statistics.py wrote"
        )
    if url.lower().endswith(".npz"):
        return read_adm(url)
    return read_stored(url)  # which says what is missing there


def kept_features(
    reference: Reference,
    detector: AnyDetector,
    folder: str,
    crew: Crew,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Float[Tensor, "N F"]:
    """Features of single real images: those kept, or what the detector makes of ADM's images,
    computed once into `folder`.

    Raises BadInput for a reference that has neither.
    """
    if reference.kept is not None:
        return reference.kept
    if reference.shown is None:
        raise BadInput(
            f"{reference.url} holds moments alone; precision, recall and kernel distances ask for "
            "single images (arr_0). Expected the whole npz, or a reference of "
            "jobs/reference_statistics.py"
        )
    source = reference_images(reference.url)
    request = FeatureRequest(source=source, detectors=(detector,), device=device)
    return features_of(request, folder, crew).whole(detector.name, "features")
