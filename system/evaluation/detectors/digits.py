"""Frozen networks that look at images for a metric: here the one for digits and small patches.

It is a small convolutional classifier trained on the real training split alone, by a fixed rule:
the same data give the same weights (to rounding, across versions of torch), so that nothing has to
be downloaded. Its penultimate layer gives the features of the Frechet distance, its logits judge
whether a drawn digit is the digit that was asked for. Seven channels of its last grid, which still
know where things are, give the spatial features of sFID, as seven channels of Inception's do (Nash
et al. 2021, arXiv 2103.03841, and ADM's evaluator). It serves any labelled images of at least 8
pixels, is trained once for each data set and kept beside the runs.
"""

import hashlib
import json

import torch
from einops import rearrange
from jaxtyping import Float
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save
from torch import Tensor
from torch import nn
from torch.nn import functional

from system.evaluation.arithmetic import exact_arithmetic
from system.evaluation.detectors.detector import Detector
from system.evaluation.detectors.detector import Seen
from system.evaluation.detectors.detector import look_in_passes
from system.evaluation.labelled import Labelled
from system.foundation import storage
from system.foundation import streams
from system.foundation.errors import DataError
from system.foundation.settings.record import Record

SMALLEST = 8  # side of images, in pixels
GRID = 8  # layers of the network's body up to its last grid
SPATIAL_CHANNELS = 7  # of the last grid, as in ADM's evaluator


class Training(Record):
    """How the digits detector is trained; a change of any value is another detector."""

    version: int = 1
    seed: int = 0
    width: int = 32
    features: int = 64
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    pixel_noise: float = 0.2  # standard deviation, for pixels in [-1, 1]


class DigitsNetwork(nn.Module):
    """Three convolutions and one hidden layer, for images of at least 8 by 8 pixels."""

    def __init__(self, channels: int, classes: int, training: Training) -> None:
        super().__init__()
        self.channels, self.classes = channels, classes
        self.width, self.features = training.width, training.features
        width = training.width
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.AvgPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(2 * width * 4 * 4, training.features),
            nn.GELU(),
        )
        self.head = nn.Linear(training.features, classes)

    def forward(
        self, image: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B S"], Float[Tensor, "B classes"]]:
        """Features, spatial features and logits of images in [-1, 1]."""
        grid = self.body[:GRID](image)
        features = self.body[GRID:](grid)
        spatial = rearrange(grid[:, :SPATIAL_CHANNELS], "b c h w -> b (h w c)")
        return features, spatial, self.head(features)


class DigitsDetector(Detector):
    """A trained network with the digest of its weights. It looks at 8-bit images, unresized."""

    name = "digits-cnn"
    resize = "none"

    def __init__(self, network: DigitsNetwork, device: str = "cpu") -> None:
        self.digest = _digest(network.state_dict())
        self.device = torch.device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)

    def look(self, image: UInt8[Tensor, "N C H W"]) -> Seen:
        """Features, spatial features and logits. Raises DataError for images of other channels."""
        channels, side = self.network.channels, min(image.shape[2:])
        if image.shape[1] != channels or side < SMALLEST:
            raise DataError(
                f"images have {image.shape[1]} channels and {side} pixels on their shorter side, "
                f"but {self.name} was trained on {channels} channels and needs {SMALLEST} pixels; "
                "measure images like those it was trained on"
            )
        return look_in_passes(image, self._look)

    def _look(self, shown: UInt8[Tensor, "N C H W"]) -> Seen:
        return Seen(*(each.cpu() for each in self.network(_to_float(shown.to(self.device)))))


def digits_detector(
    train: Labelled,
    *,
    classes: int,
    data_digest: str,
    folder: str,
    training: Training | None = None,
) -> DigitsDetector:
    """The detector of these data: read from `folder` if it is there, else trained and put there.

    Processes that race train the same weights twice, and the file is replaced whole. Raises
    DataError for images too small for the network, and for a file in `folder` that is damaged.
    """
    training = training or Training()
    channels, side = train.image.shape[1], train.image.shape[-1]
    if side < SMALLEST:
        raise DataError(
            f"images of {side}x{side} pixels (data {data_digest}) are too small for the digits "
            f"detector; expected a side of at least {SMALLEST}. Set evaluation.kind=none or pack "
            "larger ones"
        )
    url = digits_url(folder, data_digest, training)
    network = DigitsNetwork(channels, classes, training)
    if storage.exists(url):
        _fill(network, _loaded(storage.read_bytes(url), url), url)
    else:
        with exact_arithmetic(threads=1):  # the number of threads would change the rounding
            train_digits(network, train, training)
        storage.write_bytes(url, save(network.state_dict()))
    return DigitsDetector(network)


def digits_url(folder: str, data_digest: str, training: Training | None = None) -> str:
    """Where `digits_detector` keeps the detector of these data."""
    key = _key(data_digest, training or Training())
    return storage.join(folder, f"{DigitsDetector.name}-{key}.safetensors")


def read_digits(url: str) -> DigitsNetwork:
    """The network that is stored at a path or url. Raises DataError if it is absent or damaged."""
    if not storage.exists(url):
        raise DataError(
            f"{url}: no file; expected the weights of {DigitsDetector.name}, which an evaluation "
            "with evaluation.kind=digits trains and stores in the folder `detectors` beside the run"
        )
    weights = _loaded(storage.read_bytes(url), url)
    first, last = weights.get("body.0.weight"), weights.get("head.weight")
    if first is None or last is None or first.ndim != 4 or last.ndim != 2:
        raise DataError(
            f"{url}: found other weights than those of {DigitsDetector.name} "
            f"({', '.join(sorted(weights)[:3])}, ...); give the file that an evaluation stored"
        )
    training = Training(width=first.shape[0], features=last.shape[1])
    network = DigitsNetwork(first.shape[1], last.shape[0], training)
    _fill(network, weights, url)
    return network


def open_digits(url: str, digest: str, device: str = "cpu") -> DigitsDetector:
    """The detector stored at a path or url. Raises DataError if its weights are not of `digest`."""
    detector = DigitsDetector(read_digits(url), device)
    if detector.digest != digest:
        raise DataError(
            f"{url}: found weights with digest {detector.digest}, expected {digest}: the file was "
            "replaced since it was chosen. Measure again, so that the new one is chosen"
        )
    return detector


def train_digits(network: DigitsNetwork, train: Labelled, training: Training) -> None:
    """Train in place: AdamW on one cycle of the learning rate, noise on the pixels."""
    _initialise(network, training.seed)
    image, count = _to_float(train.image), len(train.image)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    batches = -(-count // training.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.learning_rate, total_steps=training.epochs * batches
    )
    for epoch in range(training.epochs):
        generator = streams.generator(training.seed, "detector/epoch", epoch)
        order = torch.from_numpy(generator.permutation(count))
        for chosen in order.split(training.batch):
            noise = generator.standard_normal(image[chosen].shape, "float32")
            noisy = image[chosen] + training.pixel_noise * torch.from_numpy(noise)
            _, _, logits = network(noisy)
            loss = functional.cross_entropy(
                logits, train.label[chosen], label_smoothing=training.label_smoothing
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


@torch.no_grad()
def _initialise(network: nn.Module, seed: int) -> None:
    """He's normal start, drawn from our own streams so that no global generator takes part."""
    for place, parameter in enumerate(network.parameters()):
        if parameter.ndim == 1:
            parameter.zero_()
        else:
            draw = streams.normal(seed, "detector/start", [place], tuple(parameter.shape))[0]
            parameter.copy_(draw * (2 / parameter[0].numel()) ** 0.5)


def _to_float(image: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    return image.float() / 127.5 - 1


def _loaded(content: bytes, url: str) -> dict[str, Tensor]:
    try:
        return load(content)
    except SafetensorError as problem:
        raise _damaged(url, problem) from problem


def _fill(network: nn.Module, weights: dict[str, Tensor], url: str) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as problem:
        raise _damaged(url, problem) from problem


def _damaged(url: str, problem: Exception) -> DataError:
    return DataError(
        f"{url}: found a damaged detector ({type(problem).__name__}: {problem}); expected "
        "weights that an earlier evaluation stored. Delete it: the next one trains it anew"
    )


def _key(data_digest: str, training: Training) -> str:
    text = json.dumps([data_digest, training.model_dump(mode="json")], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _digest(weights: dict[str, Tensor]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        value = weights[name].contiguous().numpy()
        state.update(f"{name} {value.dtype} {value.shape}".encode())
        state.update(value.tobytes())
    return state.hexdigest()
