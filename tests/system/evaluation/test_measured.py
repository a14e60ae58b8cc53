import pytest

from system.evaluation.analysis import Analysis
from system.evaluation.measured import Chosen
from system.evaluation.measured import Measured
from system.evaluation.probes import Probing
from system.evaluation.sampling import Sampling
from system.foundation.settings.record import Record


@pytest.mark.parametrize("request_of", [Analysis, Probing])
def test_whatever_measures_is_told_alike_what_to_measure(request_of: type[Record]) -> None:
    shared = {name: request_of.model_fields[name].description for name in Measured.model_fields}
    assert shared == {name: field.description for name, field in Measured.model_fields.items()}
    assert request_of().model_dump(include=set(shared)) == Measured().model_dump()


def test_drawing_needs_no_images_and_has_a_place_of_its_own() -> None:
    assert issubclass(Sampling, Chosen)
    assert "threads" not in Sampling.model_fields  # they would change no picture
    assert Sampling().out == "drawn"
    assert "shards" not in Sampling.model_fields
