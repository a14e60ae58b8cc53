import pytest
import torch

from system.foundation.settings.flow import Flow
from system.layers.cache import Place
from system.layers.cache import Span
from system.layers.continuation import Continuation
from system.layers.embedding import axial_rotary
from system.layers.packed import is_worth_packing
from system.layers.steering import Steering
from system.layers.transformer import Transformer
from tests.system.layers.test_transformer import inputs
from tests.system.layers.test_transformer import stack

ROTARY = axial_rotary(3, 4, 100.0)
CONDITIONS = (
    {"kind": "adaptive_norm"},
    {"kind": "adaptive_norm", "ways": 4},
    {"kind": "added"},
)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("perceptron", ["gelu", "gelu_tanh", "swiglu", "geglu"])
@pytest.mark.parametrize("chunk", [1, 4])
@torch.no_grad()
def test_chunk_by_chunk_equals_all_at_once(
    condition: dict[str, object], perceptron: str, chunk: int
) -> None:
    transformer = stack(condition=condition, perceptron=perceptron)
    hidden, steering = inputs()
    read = Continuation(transformer, steering, ROTARY, rows=2, tokens=9)
    parts = [
        read(part, Span.at(chunk * number, part.shape[1], part.device))
        for number, part in enumerate(hidden.split(chunk, dim=1))
    ]
    expected = transformer(hidden, steering, ROTARY)[-1]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected)


@torch.no_grad()
def test_a_place_on_the_device_is_a_span_of_one() -> None:
    hidden, steering = inputs()
    read = Continuation(stack(), steering, ROTARY, rows=2, tokens=9)
    parts = [
        read(hidden[:, place : place + 1], Place.at(torch.tensor([place]), 9)) for place in range(9)
    ]
    expected = stack()(hidden, steering, ROTARY)[-1]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected)


@torch.no_grad()
def test_what_is_asked_again_takes_the_place_of_what_was_said_before() -> None:
    hidden, steering = inputs()
    read = Continuation(stack(), steering, ROTARY, rows=2, tokens=9)
    read(hidden[:, :4], Span.at(0, 4, hidden.device))
    span = Span.at(4, 5, hidden.device)
    read(hidden[:, 4:] + 1, span)
    expected = stack()(hidden, steering, ROTARY)[-1][:, 4:]
    torch.testing.assert_close(read(hidden[:, 4:], span), expected)


@torch.no_grad()
def test_a_large_stack_reads_the_same_with_packed_weights() -> None:
    shape = Flow(width=256, depths=(2,), head_width=64)
    transformer = Transformer(shape, 2)
    for parameter in transformer.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    hidden = torch.randn(2, 9, 256)
    steering = Steering(norm=torch.randn(2, 256))
    rotary = axial_rotary(3, 32, 100.0)
    assert is_worth_packing(transformer)
    read = Continuation(transformer, steering, rotary, rows=2, tokens=9)
    parts = [read(hidden[:, p : p + 3], Span.at(p, 3, hidden.device)) for p in (0, 3, 6)]
    expected = transformer(hidden, steering, rotary)[-1]
    # Sums of up to 1,024 terms of order 0.1 in another order, through two layers.
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=0, atol=1e-4)
