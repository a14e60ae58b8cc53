import pytest
import torch
from torch.nn import functional

from system.layers.perceptron import perceptron


@pytest.mark.parametrize("kind", ["gelu", "gelu_tanh"])
def test_a_plain_perceptron_bends_once(kind: str) -> None:
    module = perceptron(8, 2.5, kind)
    assert module.widen.out_features == 20
    hidden = torch.randn(2, 3, 8)
    approximate = "tanh" if kind == "gelu_tanh" else "none"
    wide = functional.gelu(module.widen(hidden), approximate=approximate)
    torch.testing.assert_close(module(hidden), module.narrow(wide))


@pytest.mark.parametrize("kind", ["swiglu", "geglu"])
def test_a_gated_perceptron_multiplies_by_a_bent_twin(kind: str) -> None:
    module = perceptron(8, 4.0, kind)
    hidden = torch.randn(2, 3, 8)
    gate = module.gate(hidden)
    bent = gate * gate.sigmoid() if kind == "swiglu" else functional.gelu(gate, approximate="tanh")
    torch.testing.assert_close(module(hidden), module.narrow(bent * module.widen(hidden)))
