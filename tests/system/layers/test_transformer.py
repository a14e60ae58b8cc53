import torch

from system.foundation.settings.flow import Flow
from system.layers.embedding import axial_rotary
from system.layers.steering import Steering
from system.layers.transformer import Transformer

ROTARY = axial_rotary(3, 4, 100.0)


SIX_WAYS = {"kind": "adaptive_norm"}


def stack(stirred: bool = True, condition: dict[str, object] = SIX_WAYS, **more) -> Transformer:
    torch.manual_seed(1)
    shape = Flow(width=16, depths=(2,), head_width=8, condition=condition, **more)
    transformer = Transformer(shape, 2).double()
    if stirred:
        for parameter in transformer.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return transformer


def inputs() -> tuple[torch.Tensor, Steering]:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(2, 9, 16, dtype=torch.float64, generator=generator)
    vector = torch.randn(2, 16, dtype=torch.float64, generator=generator)
    return hidden, Steering(norm=vector, sharpness=torch.tensor([1.0, 0.7]))


def test_a_fresh_stack_passes_its_input_through() -> None:
    hidden, steering = inputs()
    assert torch.equal(stack(stirred=False)(hidden, steering, ROTARY)[-1], hidden)


def test_the_class_steers_every_token() -> None:
    hidden, steering = inputs()
    transformer = stack()
    other = Steering(norm=steering.norm + 1, sharpness=steering.sharpness)
    moved = transformer(hidden, other, ROTARY)[-1] - transformer(hidden, steering, ROTARY)[-1]
    assert (moved.abs().amax(dim=-1) > 0).all()


def test_recomputed_activations_give_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        transformer = stack()
        transformer.recompute = recompute
        hidden, steering = inputs()
        transformer(hidden.requires_grad_(), steering, ROTARY)[-1].square().sum().backward()
        gradients.append([p.grad for p in transformer.parameters()] + [hidden.grad])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)
