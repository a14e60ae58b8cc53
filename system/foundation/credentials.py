"""Credentials inside urls: found before anything keeps them, and covered where a text is shown.

    credential_in("s3://KEY:SECRET@bucket/runs")        # "a password"
    covered("cannot read s3://KEY:SECRET@bucket/runs")  # "cannot read s3://***@bucket/runs"

Recipe, provenance, ledger, logs and wandb keep every setting. A store's credentials belong into the
environment or the files of the store's own tools, of which none is kept.
"""

import re

HIDDEN = "***"

# What stands before the @. A secret may itself hold slashes, a port is digits.
_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^\s@'\"<>]*)@")
# Signed urls of S3, Google and Azure, and what others call their tokens.
_PARAMETER = re.compile(
    r"(?P<name>[?&;](?:x-(?:amz|goog)-(?:signature|credential|security-token)|sig|signature"
    r"|(?:access_?|auth_?|session_?|security_?)?token|(?:api_?|access_?|account_?|secret_?)*key"
    r"|(?:client_?)?secret|password|passwd|pwd))=(?P<value>[^\s&;'\"<>]+)",
    re.IGNORECASE,
)


def credential_in(text: str) -> str | None:
    """What secret a text with urls has in one of them; None where there is none."""
    for found in _USER.finditer(text):
        kind = _kind(found["scheme"], found["user"])
        if kind is not None:
            return kind
    if "://" in text and (parameter := _PARAMETER.search(text)):
        return f"a credential ({parameter['name'][1:]})"
    return None


def covered(text: str) -> str:
    """The text with every such secret replaced."""

    def without_user(found: re.Match[str]) -> str:
        secret = _kind(found["scheme"], found["user"]) is not None
        return f"{found['scheme']}://{HIDDEN}@" if secret else found[0]

    shown = _USER.sub(without_user, text)
    return _PARAMETER.sub(rf"\g<name>={HIDDEN}", shown) if "://" in shown else shown


def _kind(scheme: str, user: str) -> str | None:
    """What secret stands before the @ of a url."""
    before, slash, _ = user.partition("/")
    name, colon, password = before.partition(":")
    if colon and not (slash and password.isdigit()):
        return "a password"
    if name and not slash and scheme.lower() in ("http", "https"):
        return "a token"
    return None
