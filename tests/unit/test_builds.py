"""Builds are made once per source, kept within bounds, and explained when they fail."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.builds import Builds
from discovery.declared import Limits
from discovery.errors import SandboxError
from discovery.records import Failure, FailureKind
from discovery.sandbox.base import SandboxResult
from discovery.toolchain import Toolchain

CPP = Toolchain(
    build=("g++", "-o", "{binary}", "{program}"), build_limits=Limits(wall_s=5, memory_bytes=1 << 30)
)


class Compiler:
    """Builds a source into itself, backwards, and counts."""

    def __init__(self, *answers, wait=None):
        self.requests = []
        self.answers = list(answers)
        self.wait = wait

    async def __call__(self, request):
        self.requests.append(request)
        if self.wait is not None:
            await self.wait.wait()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer or SandboxResult(
            exit_code=0, binary=request.source.encode()[::-1], wall_s=1.0, cpu_s=0.5
        )

    @property
    def sources(self):
        return [request.source for request in self.requests]


def refused(stderr, **changes):
    return SandboxResult(
        **{"exit_code": 1, "data": b"", "stderr": stderr, "wall_s": 0.1, "cpu_s": 0.1, **changes}
    )


async def test_a_source_is_built_once_with_the_problems_command_and_limits():
    compiler, builds = Compiler(), Builds(CPP, ".cpp")
    first = await builds.of("abc", compiler)
    again = await builds.of("abc", compiler)
    assert (first.binary, first.wall_s, again.binary, again.wall_s) == (b"cba", 1.0, b"cba", 0.0)
    (request,) = compiler.requests
    assert (request.argv, request.suffix, request.collects) == (CPP.build, ".cpp", True)
    assert request.limits == CPP.build_limits
    await builds.of("other", compiler)
    assert compiler.sources == ["abc", "other"]


async def test_a_second_scoring_builds_anew():
    compiler, builds = Compiler(), Builds(CPP, ".cpp")
    await builds.of("abc", compiler)
    await builds.anew().of("abc", compiler)
    assert compiler.sources == ["abc", "abc"]


async def test_equal_builds_at_once_wait_for_one():
    compiler, builds = Compiler(wait=asyncio.Event()), Builds(CPP, ".cpp")
    tasks = [asyncio.create_task(builds.of("abc", compiler)) for _ in range(5)]
    await asyncio.sleep(0)
    compiler.wait.set()
    results = await asyncio.gather(*tasks)
    assert {built.binary for built in results} == {b"cba"}
    assert len(compiler.sources) == 1


@pytest.mark.parametrize("end", ["cancelled", "sandbox died"])
async def test_who_waits_builds_when_the_first_one_cannot(end):
    release = asyncio.Event()
    compiler = Compiler(*([SandboxError("died")] if end == "sandbox died" else []), wait=release)
    builds = Builds(CPP, ".cpp")
    first = asyncio.create_task(builds.of("abc", compiler))
    await asyncio.sleep(0)
    second = asyncio.create_task(builds.of("abc", compiler))
    await asyncio.sleep(0)
    if end == "cancelled":
        first.cancel()
    release.set()
    with pytest.raises((asyncio.CancelledError, SandboxError)):
        await first
    assert (await second).binary == b"cba"
    assert len(compiler.sources) == 2


@given(st.lists(st.text("ab", min_size=1, max_size=12), max_size=40), st.integers(1, 30))
def test_what_is_kept_stays_within_its_bytes(sources, most):
    builds = Builds(CPP, ".cpp", most_bytes=most)

    async def build_all():
        for source in sources:
            assert (await builds.of(source, Compiler())).binary == source.encode()[::-1]
            assert builds._bytes == sum(map(len, builds._kept.values())) <= most

    asyncio.run(build_all())
    if sources and len(sources[-1]) <= most:
        compiler = Compiler()
        asyncio.run(builds.of(sources[-1], compiler))
        assert not compiler.sources  # what was wanted last is still there


async def test_the_first_error_is_the_message_and_no_path_of_the_sandbox_is_shown():
    said = (
        "/box/work/program.cpp: In function 'int main()':\n"
        "/box/work/program.cpp:3:5: error: 'x' was not declared in this scope\n"
        "    3 |     x = 1;\n"
        "/box/work/program.cpp:4:1: error: expected '}' at end of input\n"
    )
    built = await Builds(CPP, ".cpp").of("abc", Compiler(refused(said)))
    assert built.failure.kind is FailureKind.BUILD
    assert built.failure.message == (
        "does not compile: program.cpp:3:5: error: 'x' was not declared in this scope"
    )
    assert "/box" not in built.failure.detail
    assert "program.cpp:4:1" in built.failure.detail
    assert built.binary is None


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/usr/bin/ld: /tmp/cc0a1B2C.o: in function `main':", "/usr/bin/ld: program.o: in function `main':"),
        ("/tmp/discovery-ab_c/box/ccKMyF3z.s:4: Error: no", "program.s:4: Error: no"),
        ("error: /box/tmp/rustcAbCdEf/x.o: file not found", "error: x.o: file not found"),
        ("/box/work/program.rs:1:1: error: accident.o", "program.rs:1:1: error: accident.o"),
    ],
)
async def test_names_that_a_compiler_draws_are_not_shown(said, shown):
    built = await Builds(CPP, ".cpp").of("abc", Compiler(refused(said)))
    assert built.failure.detail == shown  # or equal runs would have unequal prompts


async def test_what_a_terminal_would_obey_does_not_get_through():
    built = await Builds(CPP, ".cpp").of("abc", Compiler(refused("program.cpp:1: error: \x1b[2Jgone\r")))
    assert "\x1b" not in built.failure.message + built.failure.detail


async def test_rusts_place_is_on_the_line_after():
    said = (
        "error[E0425]: cannot find value `y` in this scope\n --> /tmp/discovery-x/box/program.rs:1:20\n  |\n"
    )
    built = await Builds(CPP, ".rs").of("abc", Compiler(refused(said)))
    assert built.failure.message == (
        "does not compile: program.rs:1:20: error[E0425]: cannot find value `y` in this scope"
    )


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        (refused("", data=b"error: on standard output"), "build", "compile: error: on standard output"),
        (refused("memory allocation of 98304 bytes failed"), "memory", "while it was built"),
        (
            refused("program.cpp:1:2: error: #error out of memory\n    throw std::bad_alloc();"),
            "build",
            "#error out of memory",
        ),
        (
            refused("/usr/bin/ld: final link failed: No space left on device"),
            "output",
            "67,108,864 bytes to files",
        ),
        (refused(""), "build", "does not compile: status 1, without a word"),
        (refused("", exit_code=0), "build", "g++ left no file behind"),
        (
            refused("cc1plus: out of memory allocating 65536 bytes"),
            "memory",
            "limit of 1,024 MiB, while it was built",
        ),
        (
            refused("g++: fatal error: Killed signal terminated program cc1plus"),
            "memory",
            "while it was built",
        ),
        (
            refused("g++: fatal error: Killed signal terminated program cc1plus", cpu_s=5.0),
            "timeout",
            "CPU limit of 5 s, while it was built",
        ),
        (
            refused("", exit_code=None, failure=Failure(kind=FailureKind.TIMEOUT, message="ran past 5 s")),
            "timeout",
            "ran past 5 s, while it was built",
        ),
        (
            refused(
                "", exit_code=None, failure=Failure(kind=FailureKind.CRASHED, message="cannot start 'g++'")
            ),
            "build",
            "cannot start 'g++', while it was built",
        ),
    ],
)
async def test_every_way_to_fail_has_its_kind_and_says_that_it_was_the_build(result, kind, words):
    builds = Builds(CPP, ".cpp")
    built = await builds.of("abc", Compiler(result))
    assert (built.failure.kind, built.binary) == (kind, None)
    assert words in built.failure.message
    assert (await builds.of("abc", Compiler())).binary  # a failure is not kept


def test_a_toolchain_without_a_build_is_refused():
    with pytest.raises(ValueError, match="no build command"):
        Builds(Toolchain(), ".py")


@pytest.mark.parametrize("said", ["/a" * 32_768, "a: " * 20_000, "/cc" * 20_000, "/rustcaaaaaa" * 5_000])
async def test_what_is_made_to_be_slow_to_read_is_not(said):
    """A program decides what its compiler says, and reading it holds up the whole run: a minute, once."""
    started = time.process_time()
    built = await Builds(CPP, ".cpp").of("abc", Compiler(refused(said)))
    assert built.failure is not None
    assert time.process_time() - started < 2
