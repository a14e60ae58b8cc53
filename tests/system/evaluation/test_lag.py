"""The oldest are left out, and only while too many newer ones wait."""

import pytest

from system.evaluation.lag import images_seen_of
from system.evaluation.lag import superseded_by
from system.evaluation.lag import waiting


def events(*pairs):
    return [{"kind": kind, "images_seen": seen} for kind, seen in pairs]


ASKED = [("evaluation_requested", seen) for seen in (100, 200, 300, 400)]


def test_what_waits_has_been_asked_for_and_has_no_outcome():
    ended = [("evaluation", 100), ("evaluation_dropped", 200), ("evaluation_failed", 300)]
    assert waiting(events(*ASKED, *ended, ("report", 500))) == [400]


@pytest.mark.parametrize(
    ("allowed", "left_out"),
    [(1, {100: 3, 200: 2}), (2, {100: 3}), (3, {})],
)
def test_the_oldest_are_left_out(allowed, left_out):
    found = {seen: superseded_by(events(*ASKED), seen, allowed) for seen in (100, 200, 300, 400)}
    assert {seen: count for seen, count in found.items() if count is not None} == left_out


def test_newer_ones_that_are_done_do_not_count():
    done = [("evaluation", 300), ("evaluation", 400)]
    assert superseded_by(events(*ASKED, *done), 100, 1) is None


def test_no_more_are_left_out_in_a_row_than_are_kept_for_that():
    first = ("evaluation_dropped", 50)  # never asked for
    dropped = [("evaluation_dropped", 100), ("evaluation_dropped", 200)]
    more = [("evaluation_requested", seen) for seen in (500, 600)]
    assert superseded_by(events(*ASKED, *more, first, dropped[0]), 200, 1) == 4
    assert superseded_by(events(*ASKED, *more, *dropped), 300, 1) is None
    done = ("evaluation", 300)
    assert superseded_by(events(*ASKED, *more, *dropped, done), 400, 1) == 2


def test_what_has_an_outcome_is_not_left_out():
    assert superseded_by(events(*ASKED, ("evaluation", 100)), 100, 1) is None


def test_the_last_is_never_left_out():
    assert superseded_by(events(*ASKED), 400, 1) is None


@pytest.mark.parametrize(
    ("url", "images"),
    [("s3://b/r/checkpoints/000000025600-1", 25600), ("/somewhere/else", 0), ("/a/000-2/", 0)],
)
def test_images_seen_from_the_name(url, images):
    assert images_seen_of(url) == images
