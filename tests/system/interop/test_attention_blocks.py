from system.flow.flow import Flow
from system.foundation.settings import flow as settings
from system.interop.attention_blocks import Sizes
from system.interop.attention_blocks import count_layers
from system.interop.attention_blocks import layers


def test_layers_are_counted_block_by_block() -> None:
    names = [f"blocks.0.attn_blocks.{layer}.mlp.norm.weight" for layer in (0, 1)]
    names += ["blocks.2.attn_blocks.0.attention.proj.bias", "blocks.2.proj_in.bias", "var"]
    assert count_layers(names) == (2, 0, 1)
    assert count_layers(["var"]) == ()


def test_a_name_that_no_block_has_makes_none() -> None:
    assert count_layers(["blocks.0.proj_in.bias", "blocks.7.extra"]) == (0,)


def test_a_name_with_a_great_number_makes_no_great_list() -> None:
    assert len(count_layers(["blocks.999999999.proj_in.bias"])) == 1
    assert count_layers(["blocks.0.attn_blocks.999999999.x"]) == (1,)


def test_every_weight_of_a_layer_has_its_place() -> None:
    for kind, is_gated in (("gelu", False), ("geglu", True)):
        shape = settings.Flow(
            width=16,
            depths=(1, 2),
            head_width=8,
            condition=settings.Unconditional(),
            perceptron=kind,
            perceptron_ratio=2.0,
        )
        flow = Flow(shape, side=2, token_width=3, classes=1)
        own = {
            name: tuple(value.shape)
            for name, value in flow.state_dict().items()
            if name.startswith("blocks.1.transformer.")
        }
        placed = {entry.to: entry.shape for entry in layers(1, 2, Sizes(16, 32, is_gated), None)}
        assert placed == own
