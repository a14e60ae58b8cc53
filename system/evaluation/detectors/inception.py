"""The Inception-v3 of Frechet distances: the detector, and the reading of its published weights.

    features  2048: means of the last grid over its places (`pool_3`)
    spatial   2023: the first 7 channels of TensorFlow's `mixed_6/conv` (Mixed_6d's branch1x1, after
              its rectifier), 17 by 17 places, channels innermost; ADM's sFID
    logits    1008: features times the classifier's matrix WITHOUT its bias, as ADM's evaluator has
              them for its Inception Score, and torch-fidelity by default (`logits_unbiased`)

Source: Heusel et al. 2017, arXiv 1706.08500; sFID: Nash et al. 2021, arXiv 2103.03841.
"""

import io
from pickle import UnpicklingError

import torch
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from system.evaluation.detectors.detector import PASSES
from system.evaluation.detectors.detector import Detector
from system.evaluation.detectors.detector import Seen
from system.evaluation.detectors.detector import look_in_passes
from system.evaluation.detectors.inception_network import SIDE
from system.evaluation.detectors.inception_network import InceptionNetwork
from system.evaluation.detectors.resize import Rule
from system.evaluation.detectors.resize import resized
from system.evaluation.detectors.weights import INCEPTION
from system.evaluation.detectors.weights import read_published
from system.foundation.errors import BadInput
from system.foundation.errors import DataError

UNREADABLE = (SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError, KeyError)


class InceptionDetector(Detector):
    """The network with its weights, and the rule that brings images to its size."""

    def __init__(
        self, network: InceptionNetwork, *, digest: str, resize: Rule, device: str = "cpu"
    ) -> None:
        self.name = inception_name(resize)
        self.digest = digest
        self.resize: Rule = resize
        self.device = torch.device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)

    def look(self, image: UInt8[Tensor, "N C H W"]) -> Seen:
        """Features, spatial features and logits; grey images are shown as three equal channels.

        Raises DataError for other channels, and for another size where it does not resize.
        """
        count, channels, height, width = image.shape
        if channels not in (1, 3) or (self.resize == "none" and (height, width) != (SIDE, SIDE)):
            sizes = f" and {SIDE}x{SIDE} pixels" if self.resize == "none" else ""
            raise DataError(
                f"images have {channels} channels and {height}x{width} pixels; {self.name} with "
                f"resize {self.resize} expects 3 channels (or 1){sizes}"
            )
        return look_in_passes(image.expand(count, 3, -1, -1), self._look, PASSES[self.device.type])

    def _look(self, shown: UInt8[Tensor, "B 3 H W"]) -> Seen:
        levels = resized(shown.to(self.device), SIDE, self.resize, self.network.fc.weight.dtype)
        return Seen(*(each.float().cpu() for each in self.network((levels - 128) / 128)))


def inception_name(resize: Rule) -> str:
    """Names the detector among those of one request, where several rules may be asked for."""
    return f"inception-2015_{resize}"


def read_inception(url: str, expected: str | None) -> tuple[InceptionNetwork, str]:
    """The network with the weights at a path or url, and their sha256, which is `expected`.

    `None` takes any weights of this network. Raises BadInput for a file that is absent, damaged, or
    not of this network.
    """
    content, digest = read_published(url, INCEPTION, expected)
    try:
        weights = _decoded(url, content)
    except UNREADABLE as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInput(
            f"{url}: no file of torch's weights, or a damaged one ({said}); expected "
            f"{INCEPTION.described}"
        ) from error
    return _filled(weights, url), digest


def _decoded(url: str, content: bytes) -> dict[str, Tensor]:
    if url.endswith(".safetensors"):
        return load(content)
    found = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}")
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _filled(weights: dict[str, Tensor], url: str) -> InceptionNetwork:
    with torch.device("meta"):
        network = InceptionNetwork()
    wanted = network.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # say nothing
    missing = sorted(wanted.keys() - weights.keys() - counters)
    beyond = sorted(weights.keys() - wanted.keys())
    both = sorted(wanted.keys() & weights.keys())
    shapes = [name for name in both if weights[name].shape != wanted[name].shape]
    if missing or beyond or shapes:
        named = ", ".join([*missing, *beyond, *shapes][:3])
        raise BadInput(
            f"{url}: the weights of another network: {len(missing)} tensors are missing, "
            f"{len(beyond)} unknown, {len(shapes)} of another shape ({named}); expected "
            f"{INCEPTION.described}"
        )
    zero = torch.zeros((), dtype=torch.long)
    network.load_state_dict({name: weights.get(name, zero) for name in wanted}, assign=True)
    return network.float()
