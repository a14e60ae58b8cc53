"""Watches one attempt's losses and gradient norms, update by update, at the price of a report's."""

import torch
from torch import Tensor

from system.telemetry.ledger import Ledger
from system.train.guards.rollback import Rollback
from system.train.guards.rollback import known_normal
from system.train.guards.rollback import take_back
from system.train.guards.spikes import Reading
from system.train.guards.spikes import baseline
from system.train.guards.spikes import judged
from system.train.guards.spikes import spike_in
from system.train.report import Outcome
from system.train.state import TrainState

TOTAL = "loss/total"


class Watch:
    """Losses stay on the device until `check`: one collective and one copy for all of them.

    Every worker comes to the same verdict, as it judges the same numbers.
    """

    def __init__(
        self, state: TrainState, ledger: Ledger, rollbacks: tuple[Rollback, ...] = ()
    ) -> None:
        self._state = state
        self._ledger = ledger
        self._settings = state.recipe.guards.spikes
        self._rollbacks = sum(each.attempt > 0 for each in rollbacks)
        self._readings = known_normal(rollbacks, state.progress.images_seen)
        self._waiting: list[tuple[int, Tensor, float, frozenset[str]]] = []

    def add(self, start: int, outcome: Outcome) -> None:
        """Take note of the update whose first image stood at position `start`."""
        is_ignored = self._settings.on_spike == "ignore"
        is_warming_up = start < self._state.recipe.engine.schedule.warmup_images
        if outcome.skipped or is_ignored or is_warming_up:
            return
        terms = frozenset(name for name in outcome.means if name.startswith("loss/"))
        self._waiting.append((start, outcome.means[TOTAL], outcome.gradient_norm, terms))

    def check(self) -> None:
        """Judge what came since the last call. All workers must take part.

        Raises RolledBack for a spike, NumericsError where there were too many.
        """
        if not self._waiting:
            return
        losses = torch.stack([loss.detach().double() for _, loss, _, _ in self._waiting])
        means = self._state.world.mean(losses).tolist()
        waiting, self._waiting = self._waiting, []
        batch = self._state.recipe.run.global_batch
        for (start, _, norm, terms), loss in zip(waiting, means, strict=True):
            reading = Reading(start, loss, norm, terms)
            self._readings.append(judged(self._readings, reading, self._settings))
            if spike := spike_in(self._readings, self._settings, batch):
                take_back(
                    spike,
                    baseline(self._readings, terms, self._settings),
                    spikes=self._settings,
                    earlier=self._rollbacks,
                    ledger=self._ledger if self._state.world.is_first else None,
                )
        del self._readings[: -self._kept]

    @property
    def _kept(self) -> int:
        return self._settings.window_updates + self._settings.odd_updates
