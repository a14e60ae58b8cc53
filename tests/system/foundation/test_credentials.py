"""Secrets in urls are found and covered, and nothing else is."""

import pytest

from system.foundation.credentials import covered
from system.foundation.credentials import credential_in

SECRET = "hush-hush"
URLS = {
    f"s3://AKIA:{SECRET}@bucket/runs": "a password",
    f"s3://AKIA:hush/{SECRET}+x@bucket/runs": "a password",
    f"filecache::sftp://me:{SECRET}@host/x": "a password",
    f"redis://:{SECRET}@host:6379/0": "a password",
    f"https://{SECRET}@github.com/x": "a token",
    f"HTTPS://me:{SECRET}@host:8080/x": "a password",
    f"https://b.s3.amazonaws.com/x?X-Amz-Date=1&X-Amz-Signature={SECRET}": (
        "a credential (X-Amz-Signature)"
    ),
    f"https://storage.googleapis.com/b/x?X-Goog-Credential={SECRET}": (
        "a credential (X-Goog-Credential)"
    ),
    f"https://a.blob.core.windows.net/b/x?sv=2024&sig={SECRET}": "a credential (sig)",
    f"https://host/x?access_token={SECRET}&a=b": "a credential (access_token)",
    f"https://host/x?api_key={SECRET}": "a credential (api_key)",
}
HARMLESS = [
    "s3://bucket/runs",
    "sftp://me@host/x",
    "abfs://container@account.dfs.core.windows.net/x",
    "https://host:8080/pictures@2x/a.png",
    "https://host/x?page=2&sort=key",
    "/home/me:you@here/x",
    "a: b@c",
    "simplecache::s3://bucket/x",
    "key=value",
    "token=3",
]


@pytest.mark.parametrize("url", URLS)
def test_a_secret_is_found_and_covered(url: str) -> None:
    assert credential_in(url) == URLS[url]
    assert credential_in(f"evaluation.reference={url}, and more") == URLS[url]
    for text in (url, f"cannot read '{url}': {url} is not there"):
        shown = covered(text)
        assert SECRET not in shown
        assert "***" in shown
        assert credential_in(shown.replace("***@", "").replace("***", "")) is None


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert credential_in(text) is None
    assert covered(text) == text


def test_all_of_several_are_covered() -> None:
    shown = covered(" and ".join(URLS))
    assert SECRET not in shown
