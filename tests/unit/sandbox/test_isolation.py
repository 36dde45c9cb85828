"""Names and levels of isolation, and refusing what holds less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.errors import ConfigError, InsufficientIsolation
from discovery.records import SandboxRecord
from discovery.sandbox.isolation import LEVELS, PROPERTIES, SUMS, expanded, require, unmet


def record(*missing):
    held = {name: name not in missing for name in PROPERTIES}
    return SandboxRecord(id="bubblewrap-0", backend="bubblewrap", properties=held)


def test_levels_widen():
    assert not LEVELS["none"]
    assert set(LEVELS["untrusted"]) == set(PROPERTIES) - set(SUMS)
    assert set(LEVELS["full"]) == set(PROPERTIES)


@given(st.sets(st.sampled_from(sorted(PROPERTIES))), st.lists(st.sampled_from([*PROPERTIES, *LEVELS])))
def test_unmet_is_what_is_required_and_does_not_hold(missing, required):
    wanted = set(expanded(required))
    assert set(unmet(record(*missing), required)) == wanted & missing
    assert len(expanded(required)) == len(wanted)
    assert set(unmet(None, required)) == wanted


def test_a_property_that_an_old_record_does_not_know_does_not_hold():
    old = SandboxRecord(id="x", backend="process", properties={"no_network": True})
    assert unmet(old, ["no_network", "devices_harmless"]) == ["devices_harmless"]


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ConfigError, match=r"'total'; levels: none, untrusted, full; properties: no_network"):
        expanded(["no_network", "total"])


def test_refusal_names_what_is_missing_and_the_fix():
    require(record("total_cpu_bounded"), ["untrusted"])
    with pytest.raises(InsufficientIsolation) as refused:
        require(record("total_cpu_bounded"), ["full"], ["no groups here: systemd-run ..."])
    assert str(refused.value) == (
        "sandbox 'bubblewrap' does not hold here: total_cpu_bounded; no groups here: systemd-run ..."
    )
    with pytest.raises(InsufficientIsolation, match="no_network, total_cpu_bounded; use another --sandbox"):
        require(record("total_cpu_bounded", "no_network"), ["full"], ["no groups here: systemd-run ..."])
