"""Images and classes belong together."""

import torch

from system.evaluation.labelled import Labelled


def test_holds_what_it_is_given():
    image, label = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([3, 4])
    one = Labelled(image, label)
    assert one.image is image
    assert one.label.tolist() == [3, 4]
