import copy

import pytest
import torch
from torch import nn

from system.layers.packed import LEAST_BYTES
from system.layers.packed import PackedLinear
from system.layers.packed import is_worth_packing
from system.layers.packed import packed
from system.layers.perceptron import perceptron

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)


@needs_onednn
@pytest.mark.parametrize("rows", [1, 8, 24])
@torch.no_grad()
def test_a_packed_module_computes_the_same_up_to_rounding(rows: int) -> None:
    torch.manual_seed(0)
    plain = perceptron(64, 4.0, "geglu")
    before = copy.deepcopy(plain.state_dict())
    twin = packed(plain, 8)
    hidden = torch.randn(rows, 3, 64)
    # Sums of 256 terms of order 0.1 in another order.
    torch.testing.assert_close(twin(hidden), plain(hidden), rtol=0, atol=1e-5)
    assert not any(isinstance(each, PackedLinear) for each in plain.modules())
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())


def large(dtype: torch.dtype = torch.float32) -> nn.Module:
    return nn.Sequential(nn.Linear(1024, LEAST_BYTES // 4096, dtype=dtype))


@needs_onednn
def test_only_what_is_large_and_only_drawn_from_is_packed() -> None:
    assert not is_worth_packing(large())  # it could be learning
    with torch.no_grad():
        assert is_worth_packing(large())
        assert not is_worth_packing(nn.Linear(96, 384))  # the digits' own
        assert not is_worth_packing(large(torch.bfloat16))
        assert not is_worth_packing(large(torch.float64))
        assert not is_worth_packing(nn.Sequential())
