import pytest
import torch
from torch.nn import functional

from system.launch.plan.live_bytes import LiveBytes
from system.launch.plan.operations import counter
from system.launch.plan.operations import fused_attention

SHAPE = (2, 3, 64, 16)
ATTENTION = 2 * 2 * 64 * 64 * 16 * 2 * 3  # two products, two operations a multiply-add


def attention(device: str, dtype: torch.dtype = torch.float32) -> int:
    query = torch.randn(SHAPE, dtype=dtype).to(device).requires_grad_()
    with counter() as flops:
        mixed = functional.scaled_dot_product_attention(query, query, query, is_causal=True)
        forward = flops.get_total_flops()
        torch.autograd.backward(mixed.sum())
    assert forward == ATTENTION
    return flops.get_total_flops()


def test_attention_of_the_cpu_counts() -> None:
    assert attention("cpu") == pytest.approx(3.5 * ATTENTION)  # five products on the way back


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_meta_it_counts_the_same_for_every_kernel(kind, dtype) -> None:
    with fused_attention(kind):
        assert attention("meta", dtype) == pytest.approx(3.5 * ATTENTION)


def test_no_matrix_of_tokens_by_tokens_is_there() -> None:
    query = torch.empty(1, 1, 4096, 8, device="meta", dtype=torch.bfloat16)
    with fused_attention("cuda"), LiveBytes() as live:
        functional.scaled_dot_product_attention(query, query, query, is_causal=True)
    assert live.peak < 4096 * 4096


def test_numbers_go_their_own_way() -> None:
    query = torch.randn(SHAPE)
    expected = functional.scaled_dot_product_attention(query, query, query)
    original = functional.scaled_dot_product_attention
    with fused_attention("cuda"):
        assert torch.equal(functional.scaled_dot_product_attention(query, query, query), expected)
    assert functional.scaled_dot_product_attention is original
