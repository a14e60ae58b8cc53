import pytest
from pydantic import TypeAdapter
from pydantic import ValidationError

from system.evaluation.probe_classifiers import Classifier
from system.evaluation.probe_classifiers import LogisticRegression
from system.evaluation.probe_classifiers import StochasticDescent


@pytest.mark.parametrize("way", [LogisticRegression(), StochasticDescent(optimiser="lars")])
def test_a_way_is_what_its_plain_values_say(way):
    assert TypeAdapter(Classifier).validate_python(way.model_dump(mode="json")) == way


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "logistic_regression", "penalties": ()},
        {"kind": "sgd", "rates": (0.0,)},
        {"kind": "sgd", "held_back": 1.0},
        {"kind": "sgd", "warmup": 1.0},
        {"kind": "sgd", "penalties": (1.0,)},
        {"kind": "forest"},
    ],
)
def test_what_makes_no_sense_is_refused(values):
    with pytest.raises(ValidationError):
        TypeAdapter(Classifier).validate_python(values)
