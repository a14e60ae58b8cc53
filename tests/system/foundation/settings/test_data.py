import pytest
from pydantic import ValidationError

from system.foundation.settings.data import Data
from system.foundation.settings.data import DiskCache
from system.foundation.settings.data import Fetching
from system.foundation.settings.data import Selection


def test_all_samples_are_read_plainly_unless_told_otherwise() -> None:
    data = Data(shards="s", image_size=8, classes=2)
    assert data.selection == Selection(classes=None, per_class=None, balance="none")
    assert data.cache.folder is None
    assert data.on_changed_manifest == "refuse"


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        (Data, {"shards": "s", "image_size": 8, "classes": 2, "image_channels": 2}),
        (Data, {"shards": "s", "image_size": 8, "classes": 2, "stall_timeout_s": 0}),
        (Selection, {"classes": [-1]}),
        (Selection, {"per_class": 0}),
        (Fetching, {"attempts": 0}),
        (Fetching, {"hedge_after_s": 0}),
        (DiskCache, {"folder": "c", "max_bytes": 0}),
    ],
)
def test_what_makes_no_sense_is_refused(section: type, wrong: dict) -> None:
    with pytest.raises(ValidationError):
        section(**wrong)
