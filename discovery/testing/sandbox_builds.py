"""Building a program in one request and running it in another. Part of :mod:`discovery.testing.sandbox`."""

from __future__ import annotations

from dataclasses import replace

from discovery.records import FailureKind
from discovery.testing.sandbox import QUICK, SECRET, Bench, attack, case, failed

_COMPILER = """
if command -v cc >/dev/null && [ -n "$2" ]; then
    printf 'int puts(const char *); int main(void) { return puts("built") < 0; }' > program.c
    cc -o "$1" program.c && exit
fi
printf '#!/bin/sh\\necho built\\n' > "$1"
"""


@case
async def build_and_run(bench: Bench) -> None:
    """What a build leaves comes out, goes into another request and runs there; the build itself leaves nothing."""
    built = await bench.command(_COMPILER, "sh", "{program}", "{binary}", suffix=".sh", collects=True)
    assert built.failure is None, built
    assert (built.exit_code, built.binary) == (0, b"#!/bin/sh\necho built\n"), built
    ran = await bench.command("", "{binary}", binary=built.binary)
    assert (ran.data, ran.exit_code, ran.binary) == (b"built\n", 0, None), ran
    listed = await bench.command("", "ls", "-A", suffix="")
    assert listed.data == b"program\n", listed


@case
async def build_with_the_compiler(bench: Bench) -> None:
    """Where there is a C compiler, it works within the limits, and so does what it makes."""
    limits = replace(QUICK, wall_s=20)
    built = await bench.command(
        _COMPILER, "sh", "{program}", "{binary}", "cc", suffix=".sh", collects=True, limits=limits
    )
    assert built.binary is not None, built
    assert (await bench.command("", "{binary}", binary=built.binary)).data == b"built\n"


@case
async def build_that_leaves_nothing(bench: Bench) -> None:
    """A build tells its exit status, what it said, and what it left, all of which may be nothing."""
    result = await bench.command("", "sh", "-c", "echo said; echo no >&2; exit 3", collects=True)
    assert (result.failure, result.exit_code, result.binary) == (None, 3, None), result
    assert (result.data, result.stderr) == (b"said\n", "no\n"), result
    result = await bench.command("", "sh", "-c", "echo x > {binary}; exit 4", collects=True)
    assert (result.failure, result.exit_code, result.binary) == (None, 4, b"x\n"), result
    empty = await bench.command("", "sh", "-c", ": > {binary}", collects=True)
    assert (empty.exit_code, empty.binary) == (0, b""), empty
    assert "SIGSEGV" in failed(
        await bench.command("", "sh", "-c", "kill -SEGV $$", collects=True), FailureKind.CRASHED
    )
    assert "nope" in failed(await bench.command("", "nope", collects=True), FailureKind.CRASHED)
    await _not_taken_from_runs(bench)


async def _not_taken_from_runs(bench: Bench) -> None:
    result = await bench.command("", "sh", "-c", "echo x > {binary}")
    assert (result.exit_code, result.binary) == (0, None), result


@case
async def build_limits(bench: Bench) -> None:
    """A build is held to its limits, the built file among them."""
    limits = replace(QUICK, result_bytes=1000)
    fits = await bench.command(
        "", "sh", "-c", "head -c 1000 /dev/zero > {binary}", collects=True, limits=limits
    )
    assert fits.binary == bytes(1000), fits
    large = await bench.command(
        "", "sh", "-c", "head -c 1001 /dev/zero > {binary}", collects=True, limits=limits
    )
    assert "1,000 bytes" in failed(large, FailureKind.OUTPUT)
    assert large.binary is None
    endless = replace(QUICK, wall_s=0.3)
    failed(await bench.command("", "sleep", "60", collects=True, limits=endless), FailureKind.TIMEOUT)
    greedy = "x = bytearray(1 << 30)"
    result = await bench.command(greedy, collects=True, limits=replace(QUICK, memory_bytes=256 << 20))
    assert result.exit_code == 1, result
    assert "MemoryError" in result.stderr, result
    small = replace(QUICK, file_bytes=1 << 16)
    told = failed(await bench.command("", "true", binary=bytes(1 << 17), limits=small), FailureKind.CRASHED)
    assert "cannot be written" in told


@attack
async def build_that_is_no_file(bench: Bench) -> None:
    """Only a regular file is taken for what a build left: nothing is followed, waited for or read for ever."""
    for make in (
        "os.symlink('/etc/passwd', path)",
        "os.symlink('/proc/self/maps', path)",
        "os.symlink('/dev/zero', path)",
        "os.mkfifo(path)",
        "os.mkdir(path)",
        "socket.socket(socket.AF_UNIX).bind(path)",
        "open(path, 'w').close(); os.chmod(path, 0); os.rename(path, path + '.kept')",
    ):
        source = f"import os, socket, sys\npath = sys.argv[1]\n{make}"
        result = await bench.command(source, "python3", "{program}", "{binary}", collects=True)
        assert (result.failure, result.exit_code, result.binary) == (None, 0, None), (make, result)


@attack
async def build_that_forges_its_product(bench: Bench) -> None:
    """A build's product is no more than its own bytes, however they get out; nothing becomes the sandbox's fault."""
    source = """
import os
for fd in os.listdir("/proc/%d/fd" % os.getppid()):
    try:
        with open("/proc/%d/fd/%s" % (os.getppid(), fd), "wb", buffering=0) as file:
            file.write(b"F" + b"[" * 2000)
    except OSError:
        pass
"""
    result = await bench.command(source, collects=True)
    assert result.failure is None or result.failure.kind in (FailureKind.BAD_DATA, FailureKind.CRASHED), (
        result
    )
    flood = "while True: open('/proc/%d/fd/3' % __import__('os').getppid(), 'wb', 0).write(bytes(65536))"
    result = await bench.command(flood, collects=True, limits=replace(QUICK, wall_s=3))
    assert result.binary is None, result


@attack
async def build_that_reads_the_host(bench: Bench) -> None:
    """A compiler that a program has include files finds those of the sandbox only."""
    source = f"""
if ! command -v cc >/dev/null; then exit 1; fi
printf 'asm(".incbin \\"%s\\"");' '{bench.world.secret}' > incbin.c
printf '#include "%s"\n' '{bench.world.secret}' > include.c
for way in incbin include; do
    cc -w -c -o "$1" $way.c 2>&1 | grep -o '{SECRET}'
    grep -o '{SECRET}' "$1"
done
exit 0
"""
    result = await bench.command(source, "sh", "{program}", "{binary}", suffix=".sh", collects=True)
    assert SECRET.encode() not in (result.data or b"") + (result.binary or b""), result
