"""Parts of what was seen become one, kind by kind."""

import torch

from system.evaluation.detectors.detector import Seen


def test_parts_are_joined_in_order():
    first = Seen(torch.zeros(2, 3), torch.zeros(2, 0), torch.zeros(2, 4))
    second = Seen(torch.ones(1, 3), torch.ones(1, 0), torch.ones(1, 4))
    joined = Seen.joined([first, second])
    assert joined.features.tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1]]
    assert joined.spatial.shape == (3, 0)
    assert joined.logits.sum(dim=1).tolist() == [0, 0, 4]
