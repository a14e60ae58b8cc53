"""Parts of what was seen become one, and passes are always full."""

import torch

from system.evaluation.detectors.detector import PASSES
from system.evaluation.detectors.detector import Seen
from system.evaluation.detectors.detector import look_in_passes
from system.evaluation.passes import PASS


def test_parts_are_joined_in_order():
    first = Seen(torch.zeros(2, 3), torch.zeros(2, 0), torch.zeros(2, 4))
    second = Seen(torch.ones(1, 3), torch.ones(1, 0), torch.ones(1, 4))
    joined = Seen.joined([first, second])
    assert joined.features.tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1]]
    assert joined.spatial.shape == (3, 0)
    assert joined.logits.sum(dim=1).tolist() == [0, 0, 4]


def test_every_pass_is_full_and_in_order():
    sizes = []

    def look(shown):
        sizes.append(len(shown))
        mean = shown.float().mean(dim=(1, 2, 3))
        return Seen(mean[:, None], mean.new_zeros(len(mean), 0), mean.new_zeros(len(mean), 0))

    image = torch.arange(PASS + 9, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    assert look_in_passes(image, look).features[:, 0].tolist() == list(range(PASS + 9))
    assert look_in_passes(image[:0], look).features.shape == (0, 1)
    assert sizes == [PASS, PASS, PASS]


def test_passes_of_large_networks_divide_what_units_are_aligned_to():
    assert all(PASS % each == 0 for each in PASSES.values())


def test_no_pass_takes_shortcuts():
    def look(shown):
        short = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        nothing = torch.zeros(len(shown), 0)
        return Seen(torch.full((len(shown), 1), float(short)), nothing, nothing)

    assert torch.backends.cudnn.allow_tf32  # torch's own choice
    assert look_in_passes(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), look).features.item() == 0
