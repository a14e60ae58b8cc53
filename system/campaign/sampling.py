"""Which trial comes next: Optuna's samplers, rebuilt for each draw from what the ledger tells.

Optuna keeps nothing: a study in memory is filled with the trials so far, and a sampler seeded by
the campaign's seed and the number of the draw is asked once. So the same ledger gives the same
trial, on any machine and after any crash.
"""

import itertools
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import StudyDirection

from system.campaign.settings import Axis
from system.campaign.settings import Campaign
from system.campaign.trial import Overrides
from system.campaign.trial import as_overrides

# Draws that may bring a trial which is there already, before no more are made.
REPEATED_DRAWS = 64


@dataclass(frozen=True, slots=True)
class Past:
    """A trial that was proposed: what it tries, and its value at the first rung if there is one."""

    overrides: Overrides
    value: float | None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A trial to try, and the number of the draw that it came from."""

    draw: int
    overrides: Overrides


def propose(campaign: Campaign, first_draw: int, past: Sequence[Past]) -> Proposal | None:
    """The next trial that is not among the past ones; None where no more are found."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = [each.overrides for each in past]
    for draw, overrides in _draws(campaign, first_draw, past):
        if overrides not in known:
            return Proposal(draw, overrides)
    return None


def _draws(campaign: Campaign, first: int, past: Sequence[Past]) -> Iterator[tuple[int, Overrides]]:
    if campaign.sampler.kind == "grid":
        axes = [axis.grid() or [] for axis in campaign.space.values()]
        for draw, values in enumerate(itertools.product(*axes)):
            if draw >= first:
                yield draw, as_overrides(dict(zip(campaign.space, values, strict=True)))
        return
    draw_one = DRAW[campaign.sampler.kind]
    for draw in range(first, first + REPEATED_DRAWS):
        yield draw, _overrides(campaign, draw_one(campaign, draw, past))


def _random(campaign: Campaign, draw: int, past: Sequence[Past]) -> dict[str, Any]:
    # A seed of its own for each draw, and none that the next campaign's first draws share.
    seed = campaign.sampler.seed * 1_000_003 + draw
    return _asked(campaign, optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)))


def _sobol(campaign: Campaign, draw: int, past: Sequence[Past]) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(
            qmc_type="sobol", scramble=True, seed=campaign.sampler.seed
        )
    study = optuna.create_study(sampler=sampler)
    # A first trial that nobody runs: it tells the sampler the space, of which it makes a sequence.
    study.add_trial(_stand_in(campaign))
    for _ in range(draw):
        study.tell(study.ask(distributions(campaign)), 0.0)
    return _asked(campaign, study)


def _tpe(campaign: Campaign, draw: int, past: Sequence[Past]) -> dict[str, Any]:
    # Trials that run now count as poor ones, so that those beside them are tried elsewhere.
    sampler = optuna.samplers.TPESampler(
        seed=campaign.sampler.seed * 1_000_003 + draw,
        n_startup_trials=campaign.sampler.startup_trials,
        constant_liar=True,
        multivariate=True,
    )
    is_less_better = campaign.objective.direction == "min"
    better = StudyDirection.MINIMIZE if is_less_better else StudyDirection.MAXIMIZE
    study = optuna.create_study(sampler=sampler, direction=better)
    for each in past:
        study.add_trial(_remembered(campaign, each))
    return _asked(campaign, study)


DRAW: dict[str, Callable[[Campaign, int, Sequence[Past]], dict[str, Any]]] = {
    "random": _random,
    "sobol": _sobol,
    "tpe": _tpe,
}


def distributions(campaign: Campaign) -> dict[str, Any]:
    """The space in Optuna's words; a choice is its number."""
    return {key: _distribution(axis) for key, axis in campaign.space.items()}


def _distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    if axis.log is not None:
        return optuna.distributions.FloatDistribution(*axis.log, log=True)
    if axis.linear is None:
        return optuna.distributions.CategoricalDistribution(range(len(axis.grid() or ())))
    return optuna.distributions.FloatDistribution(*axis.linear, step=axis.step)


def _asked(campaign: Campaign, study: optuna.Study) -> dict[str, Any]:
    return dict(study.ask(distributions(campaign)).params)


def _overrides(campaign: Campaign, params: dict[str, Any]) -> Overrides:
    values = {}
    for key, axis in campaign.space.items():
        if axis.linear is None and axis.log is None:
            values[key] = (axis.grid() or [])[params[key]]
        else:
            value = float(f"{params[key]:.6g}")
            values[key] = int(value) if axis.step and value.is_integer() else value
    return as_overrides(values)


def _params(campaign: Campaign, overrides: Overrides) -> dict[str, Any]:
    """The inverse of `_overrides`."""
    params: dict[str, Any] = {}
    for key, axis in campaign.space.items():
        if axis.linear is None and axis.log is None:
            choices = [as_overrides({key: each})[key] for each in axis.grid() or ()]
            params[key] = choices.index(overrides[key])
        else:
            params[key] = float(str(overrides[key]))
    return params


def _remembered(campaign: Campaign, past: Past) -> optuna.trial.FrozenTrial:
    state = optuna.trial.TrialState.RUNNING
    if past.failed:
        state = optuna.trial.TrialState.FAIL
    elif past.value is not None:
        state = optuna.trial.TrialState.COMPLETE
    return optuna.trial.create_trial(
        params=_params(campaign, past.overrides),
        distributions=distributions(campaign),
        value=None if past.failed else past.value,
        state=state,
    )


def _stand_in(campaign: Campaign) -> optuna.trial.FrozenTrial:
    first = {
        key: 0 if axis.linear is None and axis.log is None else (axis.linear or axis.log or (0,))[0]
        for key, axis in campaign.space.items()
    }
    return optuna.trial.create_trial(params=first, distributions=distributions(campaign), value=0.0)
