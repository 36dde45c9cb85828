"""What options come to."""

import pytest

from discovery.cli.settings import make_config
from discovery.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "says"),
    [({"keep_chains": 0.3}, "add --rungs"), ({"on_stall": "restart"}, "add --patience")],
)
def test_an_option_that_would_change_nothing_is_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        make_config("constants-10", None, **options)


def test_what_it_is_for_may_be_in_the_file():
    file = {"adapt": {"rungs": 1, "patience": 4}}
    adapt = make_config("constants-10", file, keep_chains=0.3, on_stall="stop").adapt
    assert (adapt.keep, adapt.stops_after) == (0.3, 4)
