from system.evaluation.presets import PRESETS
from system.evaluation.ruling import ruling_score
from system.telemetry.metrics import METRICS


def test_what_rules_is_measured_and_better_when_lower():
    assert ruling_score("dinov2") == "evaluation/fd_dinov2"
    for kind, preset in PRESETS.items():
        name = ruling_score(kind)
        assert name.removeprefix("evaluation/") in preset.scores
        assert METRICS[name].better == "lower"
