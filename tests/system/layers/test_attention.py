import pytest
import torch

from system.layers.attention import CausalAttention
from system.layers.attention import attend
from system.layers.cache import Cache
from system.layers.cache import Span
from system.layers.embedding import axial_rotary

ROTARY = axial_rotary(3, 4, 100.0)


def test_a_token_sees_none_after_it() -> None:
    attention = CausalAttention(16, 8).double()
    hidden = torch.randn(2, 9, 16, dtype=torch.float64)
    changed = hidden.clone()
    changed[:, 5] += 1
    difference = (attention(changed, ROTARY) - attention(hidden, ROTARY)).abs().amax(dim=(0, 2))
    assert (difference[:5] == 0).all()
    assert (difference[5:] > 0).all()


@pytest.mark.parametrize("chunk", [1, 2, 4, 9])
def test_chunk_by_chunk_equals_all_at_once(chunk: int) -> None:
    attention = CausalAttention(16, 8).double()
    hidden = torch.randn(2, 9, 16, dtype=torch.float64)
    cache = Cache.empty(2, attention.heads, 9, hidden)
    parts = []
    for first in range(0, 9, chunk):
        here = slice(first, first + chunk)
        standing = Span.at(first, len(range(9)[here]), hidden.device)
        parts.append(
            attention.extend(hidden[:, here], ROTARY[here], cache=cache, standing=standing)
        )
    torch.testing.assert_close(torch.cat(parts, dim=1), attention(hidden, ROTARY))


def test_attention_in_bf16_is_float32_attention_rounded() -> None:
    heads = torch.randn(3, 2, 2, 9, 8).bfloat16()
    exact = attend(*heads.double(), causal=True)
    torch.testing.assert_close(attend(*heads, causal=True).double(), exact, rtol=2**-8, atol=1e-3)


def test_sharpness_is_one_over_attentions_temperature() -> None:
    attention = CausalAttention(16, 8).double()
    hidden = torch.randn(2, 9, 16, dtype=torch.float64)
    sharp = attention(hidden, None, torch.tensor([1.0, 0.5], dtype=torch.float64))
    query, key, value = attention._project(hidden, None, None)
    logits = query @ key.mT / 8**0.5 / torch.tensor([1.0, 2.0]).double()[:, None, None, None]
    logits = logits.masked_fill(torch.ones(9, 9).triu(1).bool(), float("-inf"))
    expected = (logits.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(sharp, attention.out(expected))
