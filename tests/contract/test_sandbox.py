"""Every backend against the conformance suite, failures that are known included."""

import asyncio

import pytest

from discovery.errors import SandboxError
from discovery.sandbox import NAMES, make_backend
from discovery.testing.sandbox import Bench, available, cases
from discovery.testing.sandbox_known import KNOWN_FAILURES

CASES = cases()
MARKS = {"bubblewrap": pytest.mark.sandbox, "docker": pytest.mark.docker}


@pytest.fixture(scope="module")
def benches(request):
    """One bench for each backend, on one event loop, for the whole module."""
    opened = {}
    with asyncio.Runner() as runner:

        def bench(name):
            if name not in opened:
                if name == "docker":
                    request.getfixturevalue("docker_engine")
                backend = make_backend(name)
                reason = available(backend)
                if reason is not None:
                    pytest.skip(reason)
                opened[name] = runner.run(Bench(backend).__aenter__())
            return runner, opened[name]

        yield bench
        for one in opened.values():
            runner.run(one.__aexit__(None, None, None))


def parameters():
    for name in NAMES:
        marks = [MARKS[name]] if name in MARKS else []
        for case in CASES:
            yield pytest.param(name, case, id=f"{name}-{case.name}", marks=marks)


@pytest.mark.parametrize(("name", "case"), list(parameters()))
def test_conforms(benches, name, case):
    known = KNOWN_FAILURES.get(name, {}).get(case.name)
    if known is not None and not known.applies():
        known = None
    if known is not None and known.harmful:
        pytest.xfail(f"not run, it would harm this machine: {known.reason}")
    runner, bench = benches(name)
    if known is None:
        runner.run(bench.check(case))
        return
    with pytest.raises((AssertionError, SandboxError)):
        runner.run(bench.check(case))


def test_known_failures_name_cases():
    names = {case.name for case in CASES}
    for backend, known in KNOWN_FAILURES.items():
        assert backend in NAMES
        assert set(known) <= names
