"""The page is parsed as a browser would, and held to the files it was made from."""

import json
from html.parser import HTMLParser
from pathlib import Path

from system.observe.report.folder import read_folder
from system.observe.report.page import page
from system.telemetry.ledger import Ledger
from tests.system.observe.report.conftest import picture

VOID = {"meta", "img", "br"}
LOADING = ("src", "href", "srcset", "action", "poster", "data")


class Page(HTMLParser):
    """Tags in order, text, and what the page would load."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def loads(self) -> list[str]:
        addresses = [held[name] for _, held in self.seen for name in LOADING if name in held]
        return [address for address in addresses if not address.startswith("#")]


def read(*urls: str) -> Page:
    return Page(page([read_folder(url) for url in urls]))


def test_every_number_is_that_of_its_file(run_url):
    cells = [held for _, held in read(run_url).seen if "data-value" in held]
    shown = {
        (held["data-name"], int(held["data-images"]), float(held["data-value"])) for held in cells
    }
    stored = set()
    for path in (Path(run_url) / "eval").glob("*.json"):
        content = json.loads(path.read_text())
        for name, one in content["measurements"].items():
            stored.add((name, content["images_seen"], one["value"]))
    assert shown == stored
    assert len(stored) == 8


def test_nothing_is_loaded_from_anywhere(run_url):
    loads = read(run_url).loads()
    assert loads
    assert all(address.startswith("data:image/png;base64,") for address in loads)


def test_every_link_has_its_place(run_url):
    found = read(run_url)
    places = {held["id"] for _, held in found.seen if "id" in held}
    links = {held["href"][1:] for tag, held in found.seen if tag == "a"}
    assert links <= places
    assert {"r0-drawn", "r0-training", "r0-provenance"} <= links


def test_the_page_shows_what_was_drawn_and_what_happened(run_url):
    (Path(run_url) / "samples" / "000000002000-interpolation.png").write_bytes(picture())
    found = read(run_url)
    assert sum(tag == "img" for tag, _ in found.seen) == 4  # two strips, grid, interpolation
    for words in ("price of the first order", "evaluation dropped", "abc123", "name: a <run>"):
        assert words in found.text


def test_names_and_messages_are_text_and_never_tags(run_url):
    evil = "<script>alert(1)</script>"
    bad = Path(run_url).with_name(f"r {evil.replace('/', '')}")
    Path(run_url).rename(bad)
    protocol = {"metric": evil}
    one = {"value": 1.0, "protocol": protocol, "protocol_digest": evil}
    record = {"images_seen": 1, "measurements": {evil: one}}
    (bad / "eval" / "1-x.json").write_text(json.dumps(record))
    with Ledger(str(bad), "e", run="r") as ledger:
        ledger.write("evaluation_failed", images_seen=1, error=evil)
    found = read(str(bad))
    assert sum(tag == "script" for tag, _ in found.seen) == 1
    assert "alert(1)" in found.text


def test_a_run_without_evaluations_and_with_a_torn_line_has_a_page(tmp_path):
    with Ledger(str(tmp_path), "w", run="r") as ledger:
        ledger.write("report", images_seen=5, values={"loss/total": 2.0})
    with (tmp_path / "ledger" / "w.jsonl").open("a") as file:
        file.write('{"torn\n')
    found = read(str(tmp_path))
    assert "Nothing was evaluated yet." in found.text
    assert "passed over 1 torn lines" in found.text
    assert "python jobs/evaluate.py" in found.text
    assert "objective" in found.text


def test_runs_stand_side_by_side_and_say_where_protocols_differ(run_url, tmp_path):
    other = tmp_path / "other"
    (other / "eval").mkdir(parents=True)
    content = json.loads((Path(run_url) / "eval" / "000000002000-digits.json").read_text())
    content["measurements"]["evaluation/gfid"]["protocol_digest"] = "f" * 32
    (other / "eval" / "000000002000-digits.json").write_text(json.dumps(content))
    found = read(run_url, str(other))
    assert "Runs side by side" in found.text
    assert found.text.count("protocols differ") == 1
    ids = [held["id"] for _, held in found.seen if "id" in held]
    assert len(ids) == len(set(ids))
