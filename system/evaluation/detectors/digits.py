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
from system.evaluation.labelled import Labelled
from system.foundation import storage
from system.foundation import streams
from system.foundation.errors import DataError
from system.foundation.settings.record import Record

GRID = 8  # layers of the network's body up to its last grid
SPATIAL_CHANNELS = 7  # of the last grid, as in ADM's evaluator
UNIT = 128  # images seen at once, whatever the batch of the evaluation: rounding depends on it


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

    def __init__(self, network: DigitsNetwork) -> None:
        self.network = network.eval().requires_grad_(False)
        self.digest = _digest(network.state_dict())

    @torch.no_grad()
    def look(self, image: UInt8[Tensor, "N C H W"]) -> Seen:
        """Features and logits, float32, computed in units of fixed size and in order."""
        return Seen.joined([Seen(*self.network(_to_float(unit))) for unit in image.split(UNIT)])


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
    if side < 8:
        raise DataError(
            f"images of {side}x{side} pixels (data {data_digest}) are too small for the digits "
            "detector; expected a side of at least 8. Set evaluation.kind=none or pack larger ones"
        )
    key = _key(data_digest, training)
    url = storage.join(folder, f"{DigitsDetector.name}-{key}.safetensors")
    network = DigitsNetwork(channels, classes, training)
    if storage.exists(url):
        _fill(network, storage.read_bytes(url), url)
    else:
        with exact_arithmetic(threads=1):  # the number of threads would change the rounding
            train_digits(network, train, training)
        storage.write_bytes(url, save(network.state_dict()))
    return DigitsDetector(network)


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


def _fill(network: nn.Module, content: bytes, url: str) -> None:
    try:
        network.load_state_dict(load(content))
    except (SafetensorError, RuntimeError) as problem:
        raise DataError(
            f"{url}: found a damaged detector ({type(problem).__name__}: {problem}); expected "
            "weights that an earlier evaluation stored. Delete it: the next one trains it anew"
        ) from problem


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
