from tests.system.observe.report.conftest import evaluated  # noqa: F401
from tests.system.observe.report.conftest import run_url  # noqa: F401
