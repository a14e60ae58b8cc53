import pytest
import torch

from system.foundation.settings.objective import Reconstruction
from system.objectives.reconstruction import reconstruction_loss


@pytest.mark.parametrize(("kind", "expected"), [("l1", 0.75), ("l2", 1.25)])
def test_distances_are_means_over_pixels(kind: str, expected: float) -> None:
    image = torch.zeros(1, 1, 2, 2)
    decoded = torch.tensor([[[[2.0, -1.0], [0.0, 0.0]]]])
    settings = Reconstruction(kind=kind)
    assert reconstruction_loss(settings, decoded, image).item() == expected
