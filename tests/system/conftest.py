from collections.abc import Callable

import pytest
import torch

from system.flow.flow import Flow
from system.foundation.recipe import Recipe
from system.foundation.settings import flow as settings
from system.foundation.settings.autoencoder import Convolutional
from system.foundation.settings.data import Data
from system.foundation.settings.run import Run


def stir(module: torch.nn.Module, spread: float = 0.1, seed: int = 0) -> torch.nn.Module:
    """Move every weight, so that what starts at zero (gates, affine heads) does its work."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(spread * noise.to(parameter.dtype))
    return module


@pytest.fixture(name="stir")
def stir_fixture() -> Callable[..., torch.nn.Module]:
    """`stir`, for tests that build modules of their own."""
    return stir


FAMILIES: dict[str, dict[str, object]] = {
    "simflow": {},
    "tarflow": {
        "condition": {"kind": "added"},
        "positions": "learned",
        "first": "kept",
        "raster": "data_side",
        "soft_clip": 0.0,
        "norm_out": "none",
        "perceptron": "gelu",
    },
    "tarflow_shift": {
        "condition": {"kind": "none"},
        "positions": "learned",
        "first": "kept",
        "affine": "shift",
        "soft_clip": 0.0,
        "norm_out": "none",
    },
    "latent_tarflow": {
        "condition": {"kind": "added"},
        "first": "kept",
        "raster": "data_side",
        "perceptron": "swiglu",
        "soft_clip": 0.0,
    },
    "starflow": {
        "condition": {"kind": "prefix", "rotary_pairs": 2},
        "scale": "softplus",
        "perceptron": "gelu",
    },
    "four_ways": {"condition": {"kind": "adaptive_norm", "ways": 4}, "perceptron": "geglu"},
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> dict[str, object]:
    """The flow settings that each published method asks for."""
    return FAMILIES[request.param]


@pytest.fixture
def make_flow() -> Callable[..., Flow]:
    """Tiny flows in float64 whose every weight is at work."""

    def make(side: int = 2, token_width: int = 3, classes: int = 4, **shape: object) -> Flow:
        given = {"width": 16, "depths": (1, 2), "head_width": 8} | shape
        torch.manual_seed(0)
        flow = Flow(settings.Flow(**given), side=side, token_width=token_width, classes=classes)
        return stir(flow.double())

    return make


@pytest.fixture
def make_recipe() -> Callable[..., Recipe]:
    """Tiny recipes; keyword arguments replace whole sections."""

    def make(**sections: object) -> Recipe:
        given = {
            "run": Run(
                name="tiny",
                total_images=64,
                global_batch=8,
                report_every_images=16,
                checkpoint_every_images=32,
            ),
            "data": Data(shards="-", image_size=8, image_channels=1, classes=4),
            "autoencoder": Convolutional(
                width=8, multipliers=(1, 2), blocks_per_level=1, latent_channels=3
            ),
            "flow": settings.Flow(width=16, depths=(1, 1), head_width=8),
        }
        return Recipe(**(given | sections))

    return make
