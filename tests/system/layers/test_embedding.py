import torch

from system.layers.embedding import ClassVectors
from system.layers.embedding import axial_rotary
from system.layers.embedding import drawn_parameter


def test_rotary_keeps_lengths_and_depends_on_differences_of_positions_only() -> None:
    rotary = axial_rotary(4, 4, 100.0)
    query, key = torch.randn(2, 8, dtype=torch.float64)
    turned_query = rotary.turn(query.expand(1, 1, 16, 8))
    turned_key = rotary.turn(key.expand(1, 1, 16, 8))
    torch.testing.assert_close(
        turned_query.norm(dim=-1), query.norm().expand(1, 1, 16), rtol=1e-6, atol=0
    )
    score = (turned_query @ turned_key.mT)[0, 0].reshape(4, 4, 4, 4)  # row, column, row', column'
    # One row down and one column right from anywhere is the same relation. Angles are float32.
    torch.testing.assert_close(score[0, 0, 1, 1], score[2, 1, 3, 2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(score[1, 2, 0, 3], score[2, 2, 1, 3], rtol=1e-5, atol=1e-5)
    assert not torch.isclose(score[0, 0, 1, 0], score[0, 0, 0, 1])


def test_rotary_returns_the_type_it_was_given() -> None:
    rotary = axial_rotary(2, 4, 100.0)
    for kind in (torch.bfloat16, torch.float32, torch.float64):
        assert rotary.turn(torch.ones(1, 1, 4, 8, dtype=kind)).dtype == kind


def test_a_slice_of_rotary_turns_like_the_whole() -> None:
    rotary = axial_rotary(2, 4, 100.0)
    heads = torch.randn(1, 2, 4, 8)
    torch.testing.assert_close(rotary[2:3].turn(heads[:, :, 2:3]), rotary.turn(heads)[:, :, 2:3])


def test_pairs_that_do_not_turn_come_last() -> None:
    rotary = axial_rotary(2, 4, 100.0, still_pairs=3)
    assert rotary.cos.shape == (4, 7)
    assert (rotary.cos[:, 4:] == 1).all()
    assert (rotary.sin[:, 4:] == 0).all()
    assert torch.equal(rotary.cos[:, :4], axial_rotary(2, 4, 100.0).cos)


def test_tokens_in_front_stand_where_the_first_does() -> None:
    rotary = axial_rotary(2, 4, 100.0)
    longer = rotary.before(2)
    assert torch.equal(longer.sin[2:], rotary.sin)
    assert torch.equal(longer.cos[:2], rotary.cos[:1].expand(2, -1))


def test_a_drawn_parameter_has_its_spread_and_on_meta_its_shape_alone() -> None:
    drawn = drawn_parameter(300, 40, spread=0.02)
    assert drawn.requires_grad
    assert 0.019 < float(drawn.detach().std()) < 0.021
    with torch.device("meta"):
        shape = drawn_parameter(300, 40, spread=0.02)
    assert shape.is_meta
    assert shape.shape == (300, 40)


def test_a_mixture_of_classes_is_the_mixture_of_their_vectors() -> None:
    vectors = ClassVectors(5, 8, spread=1.0)
    mixture = torch.tensor([[0.0, 1, 0, 0, 0], [0.2] * 5, [0, 0.5, 0, 0, 0.5]])
    mixed = vectors(mixture)
    assert torch.equal(mixed[0], vectors.table[1])
    torch.testing.assert_close(mixed[1], vectors.table.mean(dim=0))
    torch.testing.assert_close(mixed[2], vectors.table[[1, 4]].mean(dim=0))


def test_a_mixture_is_not_rounded_to_the_type_of_the_weights() -> None:
    vectors = ClassVectors(1000, 4, spread=1.0).bfloat16()
    mixed = vectors(torch.full((1, 1000), 1e-3))
    assert mixed.dtype == torch.bfloat16
    # The mean of a thousand in float32, then rounded once.
    torch.testing.assert_close(
        mixed[0].float(), vectors.table.float().mean(dim=0), rtol=2**-8, atol=1e-6
    )
