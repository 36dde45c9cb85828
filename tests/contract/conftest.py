"""What the suites here share."""

import pytest

from discovery.testing.hosts import forked_hosts


@pytest.fixture(scope="session", autouse=True)
def _forked():
    """Scorers' hosts are forked, where an interpreter would start for each; unit tests of scoring start some."""
    with forked_hosts():
        yield
