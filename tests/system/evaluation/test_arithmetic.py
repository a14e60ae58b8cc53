import pytest
import torch

from system.evaluation.arithmetic import exact_arithmetic


def test_threads_and_shortcuts_come_back_even_after_an_error():
    before = torch.get_num_threads()
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    with exact_arithmetic(threads=before + 1):
        assert torch.get_num_threads() == before + 1
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), exact_arithmetic(threads=before + 1):
        _ = 1 / 0
    assert torch.get_num_threads() == before
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
    torch.backends.cudnn.benchmark = False
