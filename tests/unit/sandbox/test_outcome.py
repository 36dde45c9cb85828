"""A candidate's own words can never become more than a failure of its own or data."""

import json
import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.declared import Limits
from discovery.errors import SandboxError
from discovery.records import FailureKind
from discovery.sandbox.base import CommandRun, FunctionCall, SandboxResult
from discovery.sandbox.outcome import interpret, odd

LIMITS = Limits(wall_s=2, memory_bytes=1 << 20, result_bytes=1000)
CALL = FunctionCall(source="", function="solve", arguments=b"", limits=LIMITS)
COMMAND = CommandRun(source="", argv=("x",), suffix=".py", stdin=b"", limits=LIMITS)
OWN = {
    FailureKind.CRASHED,
    FailureKind.MISSING_FUNCTION,
    FailureKind.MEMORY,
    FailureKind.OUTPUT,
    FailureKind.BAD_DATA,
}


def header(**more):
    return {"end": "exited", "status": 0, "wall_s": 0.5, "cpu_s": 0.1, **more}


def exited(code):
    return header(status=code << 8)


def told(kind="crashed", message="x", detail=None):
    return b".F" + json.dumps({"kind": kind, "message": message, "detail": detail}).encode()


def test_data_is_passed_on():
    result = interpret(CALL, header(), (b".Dabc", b"out\xff", b"err"))
    assert (result.data, result.failure, result.exit_code) == (b"abc", None, None)
    assert (result.stdout, result.stderr, result.wall_s, result.cpu_s) == ("out\ufffd", "err", 0.5, 0.1)


def test_data_needs_a_clean_end():
    result = interpret(CALL, exited(1), (b".Dabc", b"", b""))
    assert result.data is None
    assert result.failure.kind is FailureKind.CRASHED


def test_command_output_is_the_data():
    result = interpret(COMMAND, exited(3), (b".", b"out", b"err"))
    assert (result.data, result.failure, result.exit_code) == (b"out", None, 3)


BUILD = replace(COMMAND, collects=True)


def test_what_a_build_left_is_handed_out_whatever_its_status():
    result = interpret(BUILD, exited(3), (b".Bfile", b"out", b"err"))
    assert (result.binary, result.data, result.failure, result.exit_code) == (b"file", b"out", None, 3)
    for blob in (b".", b".X", b".Dfile"):
        result = interpret(BUILD, header(), (blob, b"", b""))
        assert (result.binary, result.failure, result.exit_code) == (None, None, 0)
    assert interpret(COMMAND, header(), (b".Bfile", b"out", b"")).binary is None


def test_a_built_file_is_held_to_the_limit_whoever_sent_it():
    assert interpret(BUILD, header(), (b".B" + bytes(1000), b"", b"")).binary == bytes(1000)
    result = interpret(BUILD, header(), (b".B" + bytes(1001), b"", b""))
    assert (result.binary, result.data) == (None, None)
    assert result.failure.kind is FailureKind.OUTPUT
    assert interpret(BUILD, header(end="timeout", status=9), (b".Bfile", b"", b"")).binary is None


@pytest.mark.parametrize("request_", [CALL, COMMAND, BUILD])
@pytest.mark.parametrize(
    ("end", "kind", "said"),
    [("timeout", FailureKind.TIMEOUT, "2 s"), ("overflow", FailureKind.OUTPUT, "1,000 bytes")],
)
def test_limits_win_over_what_was_written(request_, end, kind, said):
    result = interpret(request_, header(end=end, status=9), (b".Dabc", b"out", b""))
    assert result.data is None
    assert result.failure.kind is kind
    assert said in result.failure.message


def test_cpu_limit():
    for status, cpu_s in ((signal.SIGXCPU, 1.7), (signal.SIGKILL, 3.0)):
        result = interpret(CALL, header(status=status, cpu_s=cpu_s), (b".", b"", b""))
        assert result.failure.kind is FailureKind.TIMEOUT
    result = interpret(CALL, header(status=signal.SIGKILL, cpu_s=0.1), (b".", b"", b""))
    assert result.failure.kind is FailureKind.CRASHED
    assert "SIGKILL" in result.failure.message


def test_setup_failures_are_the_sandboxes():
    for blob in (b"", b"!mount: no", b"D1"):
        with pytest.raises(SandboxError):
            interpret(CALL, exited(1), (blob, b"", b""))
    with pytest.raises(SandboxError, match="no more"):
        interpret(CALL, {"end": "refused", "message": "no more processes"}, (b"", b"", b""))


@pytest.mark.parametrize("kind", sorted(FailureKind))
def test_only_own_kinds_can_be_told(kind):
    failure = interpret(CALL, header(), (told(kind), b"", b"")).failure
    assert failure.kind is (FailureKind(kind) if kind in OWN else FailureKind.BAD_DATA)


def test_messages_are_one_short_line():
    failure = interpret(
        CALL, header(), (told(message="a\n\0\ud800" * 1000, detail="b" * 10**5), b"", b"")
    ).failure
    assert "\n" not in failure.message
    assert len(failure.message) <= 500
    failure.message.encode()
    assert len(failure.detail) == 8000


def test_messages_hold_nothing_that_a_terminal_obeys():
    failure = interpret(
        CALL, header(), (told(message="\x1b[2Ja\x9bb\x7f", detail="a\tb\nc\r\x1b\0"), b"", b"")
    ).failure
    assert failure.message.isprintable()
    assert failure.detail == "a\tb\nc\ufffd\ufffd\ufffd"
    killed = interpret(CALL, header(status=11), (b".", b"", b"\x1b]0;title\x07")).failure
    assert "\x1b" not in killed.detail


def test_a_failure_too_long_to_be_one_is_not_parsed():
    longest = told(message="\U0001f600" * 500, detail="\U0001f600" * 8000)
    assert len(interpret(CALL, header(), (longest, b"", b"")).failure.detail) == 8000
    flood = b".F" + b" " * (1 << 17) + longest[2:]
    assert interpret(CALL, header(), (flood, b"", b"")).failure.kind is FailureKind.BAD_DATA


@given(
    st.binary(max_size=200),
    st.sampled_from(["exited", "timeout", "overflow", "cancelled"]),
    st.one_of(st.integers(0, 255).map(lambda code: code << 8), st.integers(1, 64)),
)
def test_any_bytes_give_a_result(blob, end, status):
    for request in (CALL, COMMAND, BUILD):
        result = interpret(request, header(end=end, status=status), (b"." + blob, b"", b""))
        assert isinstance(result, SandboxResult)
        assert (result.data is None) == (result.failure is not None)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_any_json_as_a_failure_gives_a_failure(value):
    blob = b".F" + json.dumps(value).encode()
    assert interpret(CALL, header(), (blob, b"", b"")).failure.kind in OWN


def test_odd_ends():
    usual = header(wall_s=2.9, odd=None, resident_bytes=(64 << 20) + 100)
    assert odd(usual, LIMITS, 100) is None
    assert "2 s" in odd({**usual, "wall_s": 3.1}, LIMITS, 100)
    assert "64 MiB more" in odd(usual, LIMITS, 99)
    assert odd({**usual, "odd": "by force"}, LIMITS, 0) == "by force"
