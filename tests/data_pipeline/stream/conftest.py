"""A bucket behind bad weather: an S3 server on loopback, and a proxy that injects faults."""

import logging

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from tests.faults.storm import Storm


@pytest.fixture(scope="session")
def object_store():
    """The url of an S3 server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def storm(object_store, monkeypatch):
    """The proxy that s3:// urls of this test lead to; the weather is fair to begin with."""
    with Storm(object_store, seed=0) as storm:
        monkeypatch.setenv("AWS_ENDPOINT_URL", storm.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        yield storm
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(storm):
    """The url of a bucket that is there."""
    if not s3fs.S3FileSystem().exists("bucket"):
        s3fs.S3FileSystem().mkdir("bucket")
    storm.requests.clear()
    return "s3://bucket"
