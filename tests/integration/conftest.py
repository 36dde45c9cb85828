"""Sandboxes are probed once for each kind of sandbox and worker here: what they hold is for the contract tests."""

from dataclasses import replace

import pytest

from discovery.sandbox import bubblewrap, probes, process

_found = {}


async def _verified_once(backend, spec, details):
    key = (backend.name, repr(replace(spec, label="")))
    if key not in _found:
        _found[key] = await probes.verify(backend, spec, details)
    return _found[key]


@pytest.fixture(autouse=True)
def verified_once(monkeypatch):
    """Probing takes a good part of a tiny run, and there are hundreds of them."""
    for module in (bubblewrap, process):
        monkeypatch.setattr(module, "verify", _verified_once)
