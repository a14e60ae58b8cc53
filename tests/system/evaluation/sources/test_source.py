"""A source is what its images are."""

import pytest

from system.evaluation.sources.source import Source


def test_a_source_without_images_is_none():
    with pytest.raises(TypeError, match="images"):
        Source()
