"""Units stay while an evaluation is under way, and are gone once its result is written."""

import pytest
import torch

from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Crew
from system.evaluation.labels import balanced_labels
from system.evaluation.protocol import Drawing
from system.evaluation.sources.drawn import drawn_images
from system.evaluation.studio import Studio
from system.evaluation.studio import units_folder
from system.foundation.settings.evaluation import Sampler


class NoCrew(Crew):
    """Nobody: whatever is asked for has to be there already."""

    def run(self, request, units, store):
        """Nothing is done here."""
        raise AssertionError(f"{units} were asked for again")


@pytest.fixture
def source(subject, checkpoint):
    drawing = Drawing(labels="balanced", seed=0, sampler=Sampler(guidance=0.0))
    return drawn_images(subject, checkpoint, drawing, balanced_labels(3, 10), count=3)


def test_what_was_looked_at_is_found_again_until_it_is_cleared(source, bench, tmp_path):
    folder = units_folder(str(tmp_path))
    first = Studio(AloneCrew(), folder)
    seen = first.look(source, bench.choice).whole(bench.choice.name, "features")
    again = Studio(NoCrew(), folder).look(source, bench.choice)
    assert torch.equal(again.whole(bench.choice.name, "features"), seen)
    first.clear()
    assert list((tmp_path / "eval").iterdir()) == []
    with pytest.raises(AssertionError, match="asked for again"):
        Studio(NoCrew(), folder).look(source, bench.choice)


def test_units_of_others_stay(source, bench, tmp_path):
    folder = units_folder(str(tmp_path))
    mine, other = Studio(AloneCrew(), folder), Studio(AloneCrew(), folder)
    more = source.model_copy(update={"count": 2, "label": source.label[:2]})
    mine.look(source, bench.choice)
    other.look(more, bench.choice)
    mine.clear()
    Studio(NoCrew(), folder).look(more, bench.choice)
