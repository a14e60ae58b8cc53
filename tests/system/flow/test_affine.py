import dataclasses

import pytest
import torch

from system.flow.affine import Affine


def test_what_was_said_of_a_token_stays_said() -> None:
    affine = Affine(shift=torch.zeros(1, 2, 3), log_scale=torch.ones(1, 2, 3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        affine.shift = torch.ones(1, 2, 3)  # type: ignore[misc]
