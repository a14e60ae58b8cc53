import torch

from system.layers.embedding import ClassEmbedding
from system.layers.embedding import axial_rotary


def test_rotary_keeps_lengths_and_depends_on_differences_of_positions_only() -> None:
    rotary = axial_rotary(4, 8, 100.0, torch.device("cpu"))
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
    rotary = axial_rotary(2, 8, 100.0, torch.device("cpu"))
    for kind in (torch.bfloat16, torch.float32, torch.float64):
        assert rotary.turn(torch.ones(1, 1, 4, 8, dtype=kind)).dtype == kind


def test_a_slice_of_rotary_turns_like_the_whole() -> None:
    rotary = axial_rotary(2, 8, 100.0, torch.device("cpu"))
    heads = torch.randn(1, 2, 4, 8)
    torch.testing.assert_close(rotary[2:3].turn(heads[:, :, 2:3]), rotary.turn(heads)[:, :, 2:3])


def test_the_null_class_is_the_mean_of_all_classes() -> None:
    embedding = ClassEmbedding(5, 8)
    label = torch.tensor([0, 3, 4])
    dropped = embedding(label, torch.tensor([False, True, False]))
    torch.testing.assert_close(dropped[1], embedding.table.mean(dim=0))
    torch.testing.assert_close(dropped[[0, 2]], embedding(label)[[0, 2]])
