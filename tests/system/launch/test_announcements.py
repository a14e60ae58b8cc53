"""What of a worker's announcements needs no Ray; the rest is in tests/faults/test_elastic.py."""

import pytest

from system.launch import announcements
from system.launch.announcements import RayAnnouncements
from system.launch.announcements import ask_to_make_way
from system.launch.announcements import has_made_way


@pytest.fixture(autouse=True)
def unasked():
    yield
    announcements._asked.clear()
    announcements._made.clear()


def test_the_controller_asks_and_sees_when_all_is_saved():
    told = RayAnnouncements()
    assert not told.resize()
    ask_to_make_way()
    assert told.resize()
    assert not has_made_way()
    told.make_way()
    assert has_made_way()
    assert not told.resize()  # whoever goes on after all does not save for it once more


def test_the_slowest_of_the_latest_uploads_counts():
    told = RayAnnouncements()
    assert told.upload_s() is None
    for seconds in (9.0, 1.0, 3.0, 2.0):
        told.note_upload(seconds)
    assert told.upload_s() == 3.0


def test_a_pause_is_asked_for_elsewhere():
    asked = []
    told = RayAnnouncements(lambda: bool(asked))
    assert not told.pause()
    asked.append("now")
    assert told.pause()
