"""What comes of a way to draw: a number, a count of broken images, or an error that is not its."""

import pytest

from system.evaluation.crews.crew import AloneCrew
from system.evaluation.crews.crew import Crew
from system.evaluation.studio import Studio
from system.evaluation.trial import Trial
from system.foundation import storage
from system.foundation.errors import NumericsError


class Blind(Crew):
    """One whose detectors make nothing of any image, sound as it is."""

    def run(self, request, units, store):
        """Look at pixels alone."""
        if request.detectors:
            raise NumericsError("features of any are not finite")
        AloneCrew().run(request, units, store)


@pytest.fixture
def trial(recipe, checkpoint, root, tmp_path, detector):
    def make(crew: Crew) -> Trial:
        studio = Studio(crew, str(tmp_path / "units"))
        home, settings = str(root / "any"), recipe.evaluation
        return Trial.of(settings, recipe, checkpoint, home, studio=studio, told=lambda line: None)

    return make


def settings_of(recipe, **changes):
    return recipe.evaluation.model_copy(update={"guidance_rule": "linear", **changes})


def test_sound_images_have_a_number_and_broken_ones_a_count(trial, recipe):
    made = trial(AloneCrew())
    wanted = [settings_of(recipe), settings_of(recipe, guidance=1e30)]
    sound, broken = made.results(made.ways(None, wanted, 80))
    assert (sound.broken, len(sound.parts)) == (0, 2)
    assert sound.measured.name == "evaluation/gfid"
    assert sound.measured.protocol.drawing.sampler == wanted[0].effective()
    assert (broken.broken, broken.measured) == (80, None)
    made.studio.clear()
    assert not storage.exists(made.studio.folder)


def test_a_detector_that_fails_on_sound_images_is_an_error(trial, recipe):
    made = trial(Blind())
    with pytest.raises(NumericsError, match="features of any"):
        made.results(made.ways(None, [settings_of(recipe)], 80))
