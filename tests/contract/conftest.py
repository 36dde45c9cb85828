"""What the suites here share."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _forked(host_template):
    """Scorers' hosts are forked; unit tests of scoring, and integration tests, start interpreters."""
    with host_template.in_use():
        yield
