import json
from dataclasses import asdict

from system.foundation.cursor import Cursor


def test_a_cursor_is_the_same_after_a_way_through_json() -> None:
    cursor = Cursor(images_seen=1_281_167 * 3 + 5, seed=7, manifest_digest="a" * 32)
    assert Cursor(**json.loads(json.dumps(asdict(cursor)))) == cursor
