"""Shares of hits, counted by hand."""

import pytest
import torch

from system.evaluation.scores.accuracy import accuracy


def test_accuracy_may_count_the_largest_few():
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 3.0, 2.0]])
    label = torch.tensor([1, 0, 0])
    assert [accuracy(logits, label, top) for top in (1, 2, 3, 4)] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1]
    )


def test_accuracy_is_the_share_of_hits():
    logits = torch.tensor([[1.0, 0], [0, 1], [3, 2], [0, 5]])
    assert accuracy(logits, torch.tensor([0, 1, 1, 0])) == 0.5
