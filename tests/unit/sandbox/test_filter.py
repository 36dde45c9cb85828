"""The system call filter, run by a small interpreter of its own."""

import errno
import importlib.util
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.sandbox.python import zygote_files

ALLOW, DENY, ABSENT = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
X86_64 = 0xC000003E


@pytest.fixture(scope="module")
def seccomp():
    path = Path(zygote_files()[0]).with_name("seccomp.py")
    spec = importlib.util.spec_from_file_location("seccomp_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.platform = type("Platform", (), {"machine": staticmethod(lambda: "x86_64")})
    return module


@pytest.fixture(scope="module")
def code(seccomp):
    return seccomp.seccomp_program()


def run(code, number, *arguments, architecture=X86_64):
    packet = struct.pack("=iIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    lines = list(struct.iter_unpack("HBBI", code))
    accumulator, at = 0, 0
    while True:
        operation, true, false, value = lines[at]
        at += 1
        if operation == 0x06:
            return value
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", packet, value)
            continue
        taken = {
            0x15: accumulator == value,
            0x35: accumulator >= value,
            0x45: bool(accumulator & value),
        }[operation]
        at += true if taken else false


def test_denies_each_by_name(seccomp, code):
    for name, number in seccomp.denied_calls().items():
        assert run(code, number) == DENY, name


def test_both_tables_name_what_matters(seccomp):
    for table in (seccomp._DENIED_X86_64, seccomp._DENIED_AARCH64):
        words = table.split()
        names, numbers = words[::2], words[1::2]
        assert len(set(names)) == len(set(numbers)) == len(names)
        assert {"unshare", "mount", "setns", "bpf", "keyctl", "ptrace", "sched_setaffinity"} <= set(names)


@given(number=st.integers(0, 600), argument=st.integers(0, 2**32 - 1))
def test_allows_the_rest(seccomp, code, number, argument):
    special = {*seccomp.denied_calls().values(), 56, 435, 41, 53, 160, 302}
    if number > 462:
        assert run(code, number, argument) == ABSENT
    elif number not in special:
        assert run(code, number, argument) == ALLOW
    assert run(code, number, argument, architecture=0x40000003) == DENY
    assert run(code, number | 0x40000000, argument) == DENY


def test_arguments(code):
    assert run(code, 435) == ABSENT
    assert run(code, 56, 17) == ALLOW
    assert run(code, 56, 0x10000000 | 17) == DENY
    assert run(code, 56, 0x00020000) == DENY
    assert run(code, 56, 0x8000 | 17) == DENY
    for call in (41, 53):
        assert [run(code, call, family) for family in (1, 2, 10, 16, 17, 40)] == [ALLOW] + [DENY] * 5


def test_core_limit_may_be_read_only(code):
    assert [run(code, 160, limit) for limit in (4, 7)] == [DENY, ALLOW]
    assert [run(code, 302, 0, 7, address) for address in (0, 1, 1 << 32)] == [ALLOW] * 3
    assert [run(code, 302, 0, 4, address) for address in (0, 1, 1 << 32)] == [ALLOW, DENY, DENY]
    assert run(code, 302, 0, 4, 0, 1 << 40) == ALLOW
