import pytest

from system.observe.report.classifiers import difference
from system.observe.report.classifiers import explanation
from system.observe.report.folder import RunFolder
from tests.system.observe.report.conftest import number


def run(*numbers) -> RunFolder:
    return RunFolder("runs/x", (), numbers, {}, {}, None, (), ())


def told(gradient=0.7, bayes=0.9, judge=0.99, probe=None) -> str:
    numbers = [
        number("gradient_accuracy", gradient),
        number("bayes_accuracy", bayes),
        number("classifier_accuracy", judge),
    ]
    if probe is not None:
        way = {"samples": 400, "probe": {"block": 2, "layers": 4}}
        numbers += [
            number("probe_block2_layer4_trained_accuracy", probe, protocol=way),
            number("probe_block2_layer4_fresh_accuracy", 0.4, protocol=way),
        ]
    return " ".join(explanation(run(*numbers)))


def test_the_distances_are_those_of_the_numbers():
    text = told(probe=0.95)
    assert "90.0 % (86.7 to 92.6) of the held-out images" in text
    assert "20.0 points below" in text
    assert "price of the first order" in text
    assert "block 2, layer 4, where fresh weights have 40.0 %" in text
    assert "5.0 points above Bayes. The features know more" in text
    assert "9.0 points above Bayes. That much of the class is lost" in text


def test_what_is_within_chance_is_not_explained():
    text = told(gradient=0.89, judge=0.91, probe=0.9)
    assert "cannot be told apart" in text
    assert "within chance" in text
    assert "classifies as well" in text
    assert "price" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gradient": 0.99}, "above it, it profits"),
        ({"judge": 0.7}, "no upper limit"),
        ({"probe": 0.7}, "The density knows more"),
    ],
)
def test_the_other_way_round_is_said_too(changes, words):
    assert words in told(**changes)


def test_a_difference_is_real_beyond_two_standard_errors():
    points, is_real = difference(number("bayes_accuracy", 0.9), number("bayes_accuracy", 0.8))
    assert points == pytest.approx(10.0)
    assert is_real
    few = {"samples": 20}
    assert not difference(
        number("bayes_accuracy", 0.9, protocol=few), number("bayes_accuracy", 0.8, protocol=few)
    )[1]
    perfect = number("bayes_accuracy", 1.0, protocol=few)
    assert not difference(perfect, number("bayes_accuracy", 0.95, protocol=few))[1]


def test_nothing_is_said_of_what_was_not_measured():
    assert explanation(run(number("bayes_accuracy", 0.9))) == []
    assert len(explanation(run(number("bayes_accuracy", 0.9), number("gradient_accuracy", 1)))) == 1
