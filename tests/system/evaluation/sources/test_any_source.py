import torch

from system.evaluation.protocol import Drawing
from system.evaluation.sources.any_source import open_source
from system.evaluation.sources.drawn import DrawnSource
from system.evaluation.sources.drawn import drawn_images
from system.foundation.settings.evaluation import Sampler


def test_a_record_opens_its_own_kind(commit, recipe, subject):
    drawing = Drawing(labels="none", seed=0, sampler=Sampler(guidance=0.0))
    record = drawn_images(subject, commit(recipe), drawing, None, count=2)
    source = open_source(record)
    assert isinstance(source, DrawnSource)
    assert source.images(range(2)).dtype == torch.uint8
