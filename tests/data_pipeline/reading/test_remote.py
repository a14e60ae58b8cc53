import http.client
import os
import random
import socket
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest

from data_pipeline.reading.remote import Remote
from data_pipeline.reading.remote import Span
from data_pipeline.reading.remote import without_credentials
from system.foundation import storage
from system.foundation.errors import BadInput
from system.foundation.errors import DataError
from system.foundation.errors import StorageError
from system.foundation.settings.data import Fetching

CONTENT = random.Random(0).randbytes(20_000)


@pytest.fixture(scope="module")
def put(object_store):
    """Put some bytes into the S3 server, past the storm."""

    def put(path, content=CONTENT):
        connection = http.client.HTTPConnection(urlsplit(object_store).netloc, timeout=30)
        for place, data in ((path.partition("/")[0], b""), (path, content)):
            connection.request("PUT", f"/{place}", data, {"x-amz-acl": "public-read"})
            assert connection.getresponse().read() == b""
        connection.close()

    return put


@pytest.fixture
def url(put, storm):
    """A file behind the storm, by plain HTTP: no other layer repeats a request on its own."""
    put("bucket/file")
    return f"{storm.url}/bucket/file"


def remote(said=None, **changes):
    """A reader that is in a hurry, and its counters."""
    options = {"timeout_s": 20.0, "backoff_s": 0.01, "hedge_after_s": None}
    counters = Counter()
    on_stage = (lambda _: None) if said is None else said.append
    return Remote(Fetching(**(options | changes)), counters, on_stage), counters


def spans_of(url, length=1000):
    return [Span(url, start, start + length) for start in range(0, len(CONTENT), length)]


@pytest.mark.parametrize("fault", ["error", "throttle", "reset", "half", "short"])
def test_what_fails_is_asked_for_again(url, storm, fault):
    storm.next = [None, fault, fault]
    said = []
    reader, counters = remote(said, concurrency=1)
    assert b"".join(reader.read(spans_of(url))) == CONTENT
    assert storm.faults[fault] == 2
    assert counters["bytes"] == len(CONTENT)
    if fault != "reset":  # aiohttp itself repeats where a kept connection turns out to be closed
        assert counters["retries"] == 2
        assert counters["requests"] == 22
        assert any(f"{url} bytes 1000-2000, attempt 2 of 6 after" in text for text in said)


def test_a_request_that_takes_too_long_is_given_up(url, storm):
    storm.slow_s = 60
    storm.next = ["slow"]
    reader, counters = remote(timeout_s=0.3)
    started = time.monotonic()
    assert reader.read([Span(url, 0, 10)]) == [CONTENT[:10]]
    assert time.monotonic() - started < 30
    assert counters["timeouts"] == counters["retries"] == 1


def test_a_slow_request_is_overtaken_by_a_second(url, storm):
    storm.slow_s = 60
    storm.next = ["slow"]
    reader, counters = remote(hedge_after_s=0.1)
    assert reader.read([Span(url, 0, 10)]) == [CONTENT[:10]]
    assert counters == {"requests": 2, "hedges": 1, "hedges_won": 1, "bytes": 10}


def test_a_second_request_that_fails_leaves_the_first(url, storm):
    storm.slow_s = 1.0
    storm.next = ["slow", "error"]
    reader, counters = remote(hedge_after_s=0.1)
    assert reader.read([Span(url, 0, 10)]) == [CONTENT[:10]]
    assert counters == {"requests": 2, "hedges": 1, "hedges_won": 0, "bytes": 10}


def test_no_second_request_where_all_slots_are_taken(url, storm):
    storm.slow_s = 0.5
    storm.weather = {"slow": 1.0}
    reader, counters = remote(hedge_after_s=0.1, concurrency=2)
    reader.read(spans_of(url, 10_000))
    assert counters["hedges"] == 0


def test_requests_run_at_one_time_but_not_more_than_allowed(url, storm):
    running, most = 0, 0
    lock = threading.Lock()
    draw = storm.next_fault

    def watch(method):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.1)
        with lock:
            running -= 1
        return draw(method)

    storm.next_fault = watch
    reader, _ = remote(concurrency=3)
    assert b"".join(reader.read(spans_of(url))) == CONTENT
    assert 1 < most <= 3


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("error", "500"),
        ("throttle", "503"),
        ("reset", "ServerDisconnectedError|ClientOSError|ConnectionReset"),
        ("half", "ClientPayloadError"),
        ("short", "5 of 10 bytes"),
        ("slow", "no answer within 0.2 s"),
    ],
)
def test_what_never_answers_is_one_error_that_says_all(url, storm, fault, cause):
    storm.slow_s = 60
    storm.weather = {fault: 1.0}
    reader, counters = remote(timeout_s=0.2 if fault == "slow" else 20, attempts=3)
    started = time.monotonic()
    with pytest.raises(StorageError, match=cause) as caught:
        reader.read([Span(url, 5, 15)])
    assert time.monotonic() - started < 30
    assert caught.value.retryable
    for part in (f"{url} bytes 5-15", "3 attempts failed", "data.fetching.attempts"):
        assert part in str(caught.value)
    assert counters["retries"] == 2


def test_storage_that_is_not_there_is_one_error():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reader, _ = remote(attempts=2)
    with pytest.raises(StorageError, match="bytes 0-10: 2 attempts failed"):
        reader.read([Span(f"http://127.0.0.1:{port}/bucket/file", 0, 10)])


def test_one_failure_ends_the_others(url, storm):
    storm.slow_s = 60
    storm.next = ["slow"]
    storm.weather = {"error": 1.0}
    reader, _ = remote(attempts=1)
    started = time.monotonic()
    with pytest.raises(StorageError, match="1 attempt failed"):
        reader.read(spans_of(url))
    assert time.monotonic() - started < 30


def test_what_no_repetition_changes_is_said_at_once(storm, put):
    put("bucket/file")
    reader, counters = remote()
    for url in (f"{storm.url}/bucket/absent", "s3://bucket/absent", "s3://no-bucket/absent"):
        with pytest.raises(DataError) as caught:
            reader.read([Span(url, 5, 15)])
        for part in (f"{url}: this shard is gone", "bytes 5-15", "pack again"):
            assert part in str(caught.value)
    storm.weather = {"denied": 1.0}
    for url in (f"{storm.url}/bucket/file", "s3://bucket/file"):
        with pytest.raises(DataError, match="bytes 5-15 may not be read") as caught:
            reader.read([Span(url, 5, 15)])
        assert "credentials" in str(caught.value)
    assert counters["retries"] == 0


def test_only_our_own_attempts_repeat_a_request_to_s3(storm, put):
    put("bucket/file")
    reader, counters = remote(attempts=2)
    assert reader.read([Span("s3://bucket/file", 0, 10)]) == [CONTENT[:10]]
    for fault in ("error", "throttle", "half", "short"):
        storm.requests.clear()
        storm.next = [fault, fault]
        with pytest.raises(StorageError, match="s3://bucket/file bytes 5-15: 2 attempts failed"):
            reader.read([Span("s3://bucket/file", 5, 15)])
        assert storm.requests == {"GET": 2}
    assert counters["requests"] == 9


def test_storage_of_other_kinds():
    storage.write_bytes("memory://remote/file", CONTENT)
    reader, _ = remote(attempts=2)
    assert b"".join(reader.read(spans_of("memory://remote/file"))) == CONTENT
    with pytest.raises(StorageError, match="10 of 20 bytes"):
        reader.read([Span("memory://remote/file", len(CONTENT) - 10, len(CONTENT) + 10)])
    with pytest.raises(DataError, match="memory://remote/absent: this shard is gone"):
        reader.read([Span("memory://remote/absent", 0, 1)])
    with pytest.raises(BadInput, match="nonsense://file is not a url"):
        reader.read([Span("nonsense://file", 0, 1)])
    storage.remove("memory://remote")


def test_a_forked_process_makes_connections_of_its_own(url):
    reader, _ = remote()
    assert reader.read([Span(url, 0, 10)]) == [CONTENT[:10]]
    child = os.fork()
    if child == 0:
        os._exit(reader.read([Span(url, 5, 15)]) != [CONTENT[5:15]])
    assert os.waitpid(child, 0)[1] == 0


def test_no_message_holds_credentials():
    url = "https://user:word@host/a?X-Amz-Signature=abc123&part=7&x-amz-security-token=t0k#end"
    assert "word" not in without_credentials(url)
    assert without_credentials(url).startswith("https://***@host/a?X-Amz-Signature=***&part=7&")
    assert "t0k" not in without_credentials(f"cannot reach '{url}'")
    assert without_credentials("s3://bucket/keys/a@b.tar") == "s3://bucket/keys/a@b.tar"
