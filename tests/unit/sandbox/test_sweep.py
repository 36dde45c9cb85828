"""Folders of process sandboxes whose processes were all killed are removed, and no others."""

import asyncio
import fcntl
import os
import signal
import tempfile
import time

import pytest

from discovery.sandbox import make_backend
from discovery.sandbox.base import SandboxSpec
from discovery.sandbox.process import _sweep_folders as sweep


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def stale(folder, age_s=3600.0):
    (folder / "zygote").mkdir(parents=True)
    (folder / "zygote/zygote.py").symlink_to("/nowhere")
    then = time.time() - age_s
    os.utime(folder, (then, then))
    return folder


def test_removes_what_nobody_holds(temporary):
    outside = temporary / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    left = stale(temporary / "discovery-abcdefgh")
    (left / "box").mkdir()
    (left / "box/link").symlink_to(outside)
    (left / "box/closed/deeper").mkdir(parents=True)
    (left / "box/closed").chmod(0)
    os.utime(left, (0, 0))
    partly = temporary / "discovery-partly__"
    (partly / "box").mkdir(parents=True)
    os.utime(partly, (0, 0))
    sweep()
    assert not left.exists()
    assert not partly.exists()
    assert (outside / "file").exists()


def test_keeps_what_is_held_fresh_or_not_a_sandboxs(temporary):
    held = stale(temporary / "discovery-held____")
    fresh = stale(temporary / "discovery-fresh___", age_s=0)
    other = temporary / "discovery-bench-x"
    other.mkdir()
    os.utime(other, (0, 0))
    foreign = stale(temporary / "elsewhere")
    more = stale(temporary / "discovery-results_")
    (more / "results.csv").write_text("x")
    os.utime(more, (0, 0))
    (temporary / "discovery-link____").symlink_to(foreign)
    (temporary / "discovery-file____").write_text("x")
    descriptor = os.open(held, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        sweep()
        assert {p.name for p in temporary.iterdir()} == {
            *("discovery-held____", "discovery-fresh___", "discovery-bench-x"),
            *("discovery-results_", "elsewhere", "discovery-link____", "discovery-file____"),
        }
        assert (foreign / "zygote").is_dir()
    finally:
        os.close(descriptor)
    sweep()
    assert not held.exists()
    assert fresh.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders of others")
def test_keeps_what_belongs_to_others(temporary):
    theirs = stale(temporary / "discovery-theirs__")
    os.chown(theirs, 12345, 12345)
    sweep()
    assert theirs.exists()


async def test_a_live_sandbox_keeps_its_folder_and_a_killed_one_is_swept(temporary):
    sandbox = make_backend("process").create(SandboxSpec())
    await sandbox.start()
    try:
        (folder,) = temporary.glob("discovery-*")
        while not (folder / "box").exists():  # noqa: ASYNC110  made by the child that waits
            await asyncio.sleep(0.001)
        os.utime(folder, (0, 0))
        sweep()
        assert folder.exists()
        process = sandbox._launched.end.__self__.process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        sweep()
        assert not folder.exists()
    finally:
        await sandbox.close()
