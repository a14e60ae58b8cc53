from system.observe.report import panels
from system.telemetry.metrics import METRICS

EVALUATED = (
    *panels.DRAWN, *panels.RECONSTRUCTED, *panels.DENSITY, *panels.LATENTS, panels.CLASSIFIERS
)  # fmt: skip


def test_every_panel_is_of_registered_metrics():
    names = {metric for panel in EVALUATED for _, metric in panel.lines}
    names |= {panel.floor for panel in EVALUATED if panel.floor is not None}
    names |= {metric for _, _, metrics in panels.TRAINING for metric in metrics}
    names |= {*panels.ON_LOG_AXES, *panels.AS_REPORTED}
    assert names <= set(METRICS)


def test_no_title_stands_twice_and_no_number_in_two_panels_of_a_section():
    for section in (panels.DRAWN, panels.RECONSTRUCTED, panels.LATENTS):
        titles = [panel.title for panel in section]
        metrics = [metric for panel in section for _, metric in panel.lines]
        assert len(titles) == len(set(titles))
        assert len(metrics) == len(set(metrics))
