import platform

import numpy

from system.foundation import versions as under_test
from system.foundation.versions import versions


def test_what_is_installed_has_its_version_and_what_is_not_has_none(monkeypatch) -> None:
    monkeypatch.setattr(under_test, "PACKAGES", ("numpy", "no-such-package"))
    found = versions()
    assert found["numpy"] == numpy.__version__
    assert found["no-such-package"] is None
    assert found["python"] == platform.python_version()
