import torch

from system.layers.embedding import axial_rotary
from system.layers.transformer import Transformer

ROTARY = axial_rotary(3, 8, 100.0, torch.device("cpu"))


def stack(recompute: bool = False, stirred: bool = True) -> Transformer:
    torch.manual_seed(1)
    transformer = Transformer(16, 2, 8, recompute=recompute).double()
    if stirred:
        for parameter in transformer.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return transformer


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(2, 9, 16, dtype=torch.float64, generator=generator)
    return hidden, torch.randn(2, 16, dtype=torch.float64, generator=generator)


def test_a_fresh_stack_passes_its_input_through() -> None:
    hidden, condition = inputs()
    assert torch.equal(stack(stirred=False)(hidden, condition, ROTARY), hidden)


def test_step_by_step_equals_all_at_once() -> None:
    transformer = stack()
    hidden, condition = inputs()
    caches = transformer.empty_caches(hidden[:, :1], 9)
    steps = [
        transformer.step(
            hidden[:, place : place + 1], condition, ROTARY[place : place + 1], caches, place
        )
        for place in range(9)
    ]
    torch.testing.assert_close(torch.cat(steps, dim=1), transformer(hidden, condition, ROTARY))


def test_the_class_steers_every_token() -> None:
    hidden, condition = inputs()
    transformer = stack()
    moved = transformer(hidden, condition + 1, ROTARY) - transformer(hidden, condition, ROTARY)
    assert (moved.abs().amax(dim=-1) > 0).all()


def test_recomputed_activations_give_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        transformer = stack(recompute)
        hidden, condition = inputs()
        transformer(hidden.requires_grad_(), condition, ROTARY).square().sum().backward()
        gradients.append([p.grad for p in transformer.parameters()] + [hidden.grad])
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)
