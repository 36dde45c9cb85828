"""A zygote that may only change ids, as in a container of the Docker engine, surrounded by bubblewrap as root."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from discovery.errors import SandboxError
from discovery.records import FailureKind
from discovery.sandbox import bubblewrap, make_backend
from discovery.sandbox.client import ZYGOTE_FLAGS, Launched, LocalProcess, ZygoteSandbox, fresh_uids
from discovery.sandbox.probes import verify
from discovery.sandbox.python import interpreter
from discovery.testing.sandbox import Bench, cases

pytestmark = pytest.mark.sandbox
SIZE = 64 << 20
CASES = {case.name: case for case in cases()}
CHOSEN = (
    *("standard_machinery_works", "fresh_module_each_time", "exits", "wall_limit", "memory_limit"),
    *("command_reads_and_writes", "cancellation_ends_the_request", "close_leaves_nothing"),
    *(
        "build_and_run",
        "kill_everything",
        "kill_zygote",
        "fork_bomb",
        "inspect_zygote",
        "shared_memory_survives",
    ),
    *(
        "memory_of_earlier_requests",
        "become_root",
        "write_shared_places",
        "raise_limits",
        "unwipeable_folder",
    ),
)


class UidBackend:
    """What the Docker engine would put around a zygote, as far as ids, rights and files go."""

    name = "uid"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def missing(self):
        if os.geteuid() != 0 or shutil.which("bwrap") is None:
            return ["it takes root and bubblewrap"]
        return make_backend("bubblewrap").missing()

    async def verify(self, spec):
        return await verify(self, spec, details={})

    def create(self, spec):
        return ZygoteSandbox(spec, self.launch)

    def sweep(self):
        return ()

    def launch(self, spec):
        path = self.folder / "zygote.sock"
        path.unlink(missing_ok=True)
        passwd_read, passwd_write = os.pipe()
        os.write(passwd_write, b"candidate:x:1000:1000::/box/work:/bin/sh\n")
        os.close(passwd_write)
        log = tempfile.TemporaryFile()  # noqa: SIM115  handed to the sandbox
        command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--as-pid-1", "--new-session"]
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        command += ["--die-with-parent", "--ro-bind", str(self.folder), "/mnt"]
        command += bubblewrap._root(spec, passwd_read)
        command += ["--size", str(SIZE), "--perms", "0755", "--tmpfs", "/box"]
        command += [str(interpreter().executable), *ZYGOTE_FLAGS, "/zygote/zygote.py", "/mnt/zygote.sock"]
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            listener.settimeout(20)
            process = subprocess.Popen(
                [*command, spec.label], pass_fds=(passwd_read,), stdout=log, stderr=log, env={}
            )
            os.close(passwd_read)
            local = LocalProcess(process=process, output=log)
            try:
                channel, _ = listener.accept()
            except TimeoutError as error:
                said = local.log()
                local.end()
                raise SandboxError(said) from error
        return Launched(
            channel=channel,
            confinement="uid",
            uid=fresh_uids(),
            box="/box/work",
            end=local.end,
            log=local.log,
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    backend = UidBackend(tmp_path_factory.mktemp("uid"))
    if backend.missing():
        pytest.skip("; ".join(backend.missing()))
    with asyncio.Runner() as runner:
        bench = runner.run(Bench(backend).__aenter__())
        yield runner, bench
        runner.run(bench.__aexit__(None, None, None))


@pytest.mark.parametrize("name", CHOSEN)
def test_conforms(bench, name):
    runner, bench = bench
    runner.run(bench.check(CASES[name]))


def test_no_two_requests_share_a_user(bench):
    runner, bench = bench

    async def users():
        source = "import os\ndef solve():\n    return [*os.getresuid(), *os.getresgid(), len(os.getgroups())]"
        return [await bench.value(source) for _ in range(3)]

    found = runner.run(users())
    assert all(len(set(user[:6])) == 1 and user[6] == 0 for user in found)
    assert len({user[0] for user in found}) == 3
    assert min(user[0] for user in found) > 1 << 20


def test_what_a_request_leaves_beside_its_folder_is_gone(bench):
    runner, bench = bench
    leave = """
import os
def solve():
    left = []
    for place in ("/box", "/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp"):
        try:
            os.makedirs(f"{place}/left/deep")
            open(f"{place}/left/deep/file", "w").close()
            os.chmod(f"{place}/left", 0)
            left.append(place)
        except OSError:
            pass
    return left
"""
    look = """
import os
def solve(places):
    return [p for p in places if os.path.lexists(p + "/left")]
"""

    async def both():
        places = await bench.value(leave)
        return places, await bench.value(look, places)

    places, left = runner.run(both())
    assert "/box" in places
    assert left == []


def test_what_ends_everything_of_its_user_cannot_end_the_helper(bench):
    runner, bench = bench
    source = """
import os, signal
def solve():
    if os.fork() == 0:
        while True:
            try:
                os.kill(-1, signal.SIGKILL)
            except OSError:
                pass
    signal.pause()
"""

    async def attacked():
        for _ in range(5):
            assert (await bench.call(source)).failure.kind is FailureKind.CRASHED
            await bench.settle()

    runner.run(attacked())
