"""PromQL that can only ask for what is registered, under labels that it has."""

import pytest

from system.observe.boards.query import bound
from system.observe.boards.query import live
from system.observe.boards.query import newest
from system.observe.boards.query import selector


def test_of_the_selected_runs():
    assert selector("loss/total") == 'latent_flows_loss_total{run=~"$run"}'
    state = 'latent_flows_run_state{run=~"$run", state="running"}'
    assert selector("run/state", state="running") == state
    assert newest("run/state", state="running") == f"max by (run) ({state})"


def test_of_the_selected_campaigns_a_trial_is_not_chosen_by_its_run():
    value = 'latent_flows_campaign_value{campaign=~"$campaign"}'
    assert newest("campaign/value") == f"max by (campaign, trial, run) ({value})"


def test_live_numbers_come_from_ray_and_then_from_the_exporter():
    series = 'latent_flows_train_gradient_norm{run=~"$run"}'
    assert live("train/gradient_norm") == f"max by (run) (ray_{series}) or max by (run) ({series})"


def test_bounds_are_two_standard_errors_away():
    assert bound("evaluation/gfid", "+").endswith(
        '+ 2 * max by (run) (latent_flows_evaluation_gfid_standard_error{run=~"$run"})'
    )


def test_unknown_names_and_labels_are_mistakes():
    with pytest.raises(KeyError):
        newest("loss/totl")
    with pytest.raises(AssertionError):
        selector("loss/total", state="running")
    with pytest.raises(AssertionError):
        live("run/state")
