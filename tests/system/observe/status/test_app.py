from pathlib import Path

import pytest
from starlette.testclient import TestClient

from system.observe.status.app import application
from system.observe.status.shell import SCRIPTS
from system.observe.status.shell import address
from system.observe.status.shell import asset
from system.observe.status.watch import Watch


@pytest.fixture
def client(run_url):
    """The application over the folder of one run, looked at once."""
    watch = Watch(str(Path(run_url).parent), refresh_s=1e-3)
    watch.look()
    return TestClient(application(watch, refresh_s=2, hosts=["testserver"]))


def test_the_page_comes_with_a_policy_and_the_rows(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert '"a run"' in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_s_files_may_be_kept_for_ever_and_others_are_not_there(client):
    for name in SCRIPTS:
        answer = client.get(address(name))
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.content == asset(name)
    assert client.get("/assets/0123456789abcdef/page.js").headers["cache-control"] == "no-store"
    assert client.get("/assets/x/shell.py").status_code == 404
    assert client.get("/assets/x/..%2f..%2fapp.py").status_code == 404


def test_what_is_new_is_asked_for_by_a_mark(client):
    first = client.get("/api/fleet").json()
    assert set(first["changed"]) == {"run:a run", "root"}
    again = client.get("/api/fleet", params={"since": first["mark"]}).json()
    assert (again["changed"], again["gone"]) == ({}, [])
    assert again["now"] >= first["now"]


def test_a_run_is_its_sections(client):
    found = client.get("/api/run", params={"name": "a run"}).json()
    assert "chart:gFID" in found["changed"]
    again = client.get("/api/run", params={"name": "a run", "since": found["mark"]}).json()
    assert again["changed"] == {}


def test_a_grid_is_a_picture_or_words(client):
    good = client.get("/api/grid", params={"run": "a run", "images": "1000"}).json()
    assert good["picture"].startswith("data:image/png;base64,")
    for asked in (
        {},
        {"run": "a run"},
        {"run": "a run", "images": "-1"},
        {"run": "x", "images": "1"},
    ):
        assert "fault" in client.get("/api/grid", params=asked).json()


@pytest.mark.parametrize("name", ["", "nobody", "<script>alert(1)</script>", "../a run"])
def test_a_run_that_is_not_there_is_words(client, name):
    answer = client.get("/api/run", params={"name": name})
    assert answer.status_code == 200
    assert "There is no run" in answer.json()["fault"]


def test_it_answers_to_its_own_names_and_changes_nothing(client, run_url):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    files = sorted(str(each) for each in Path(run_url).rglob("*"))
    for way in ("post", "put", "delete"):
        assert getattr(client, way)("/api/run").status_code == 405
    assert sorted(str(each) for each in Path(run_url).rglob("*")) == files


def test_it_looks_by_itself_while_it_serves(tmp_path):
    watch = Watch(str(tmp_path), refresh_s=0.01)
    with TestClient(application(watch, refresh_s=2)) as client:
        while not client.get("/api/fleet").json()["changed"]["root"]["read"]:
            pass
        assert "has no runs yet" in client.get("/").text
