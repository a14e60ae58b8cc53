r"""Compute once what drawn images are measured against: statistics of real ones, with provenance.

    python jobs/reference_statistics.py shards=shards/imagenet image_size=256 \
        detector=weights/pt_inception-2015-12-05-6726825d.pth workers=8 device=cuda
    python jobs/reference_statistics.py archive=VIRTUAL_imagenet256_labeled.npz \
        detector=weights/pt_inception-2015-12-05-6726825d.pth
    python jobs/reference_statistics.py preset=digits shards=shards/digits \
        detector=runs/detectors/digits-cnn-0123456789abcdef.safetensors

Writes a folder `<out>/<preset>-<digest of the request>` with the moments of the detector's features
(plain and spatial), the features of up to 10,000 of the images, and how they were made; prints
where it lies and the digest that protocols name it by. A second call finds it. What was computed
before a crash lies in `<out>/units`, and is not computed again.

ADM's npz has moments already, and needs none of this: give it as a reference as it is. (As
`archive` here, it is its 10,000 images that are looked at.) One core looks at about ten images a
second with Inception; a training set of 1.28 million is for GPUs. The features of all images lie on
the disk meanwhile: 20 KB each.
"""

from system.evaluation.reference.request import ReferenceRequest
from system.evaluation.reference.request import reference_to_lines
from system.foundation.config import Resolved
from system.launch.any_ray import any_ray
from system.launch.command import command


def main(resolved: Resolved[ReferenceRequest]) -> None:
    """Make the reference or find it, and say where."""
    request = resolved.recipe
    gpus = request.workers if request.device == "cuda" else 0
    print(reference_to_lines(request, lambda: any_ray(request.workers, gpus=gpus)))


if __name__ == "__main__":
    command(main, None, about=__doc__, schema=ReferenceRequest)
