"""A model server's life, with a small stand-in for vLLM: start, death, new weights, and its end however that comes."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from discovery.errors import ServerFailed, UsageError, WeightsError
from discovery.generation import guard, process
from discovery.generation import server as server_module
from discovery.generation.adapters import publish_adapter
from discovery.generation.control import Control, ask_to_publish, enrolled, homes, running_servers
from discovery.generation.probe import Probe
from discovery.generation.server import Care, ModelServer
from discovery.generation.vllm import AdapterRoom, Build, ServeOptions
from discovery.generation.weights import Kind
from discovery.testing.vllm import Behaviour, program, write_adapter, write_checkpoint

CARE = Care(start_s=20, grace_s=5, restarts=2, pause_s=0.01, adapters=2)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(process, "_LOOK_S", 0.02)
    monkeypatch.setattr(server_module, "_LOOK_S", 0.05)
    for name in ("OPENAI_API_KEY", "VLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def build(tmp_path):
    return Build(program=program(tmp_path), version="0.32.0")


@pytest.fixture
def model(tmp_path):
    return write_checkpoint(tmp_path / "model", says="old")


@pytest.fixture
def make(tmp_path, build, model):
    """Make servers, which are stopped in the end."""
    made = []

    def made_server(folder=model, care=CARE, **given):
        options = ServeOptions(model=str(folder), name="tiny", port=free_port(), **given)
        server = ModelServer(build, options, tmp_path / "server", say=made_server.said.append, care=care)
        made.append(server)
        return server

    made_server.said = []
    yield made_server
    for server in made:
        server.stop()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def until(holds, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(pid):
    """Whether a process does, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def tree(pid):
    """A process and all that descend from it."""
    found = [pid]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found += tree(int(folder.name))
    return found


def kill_model(server):
    """End it as a fault in vLLM does."""
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{server.options.root}/die", data=b"{}", timeout=5).read()


def says(server, name="tiny"):
    return Probe(server.options.root).answer(name).text


class TestStart:
    def test_it_serves_says_how_far_it_is_and_leaves_nothing(self, make, model):
        server = make(adapters=AdapterRoom(rank=8))
        serving = server.start()
        assert (serving.name, serving.root, serving.context_tokens) == ("tiny", str(model), 1024)
        assert (serving.takes_adapters, serving.adapters, serving.reasons) == (True, (), False)
        assert serving.version == "0.32.0+fake"
        assert says(server) == "old"
        stages = [line.rpartition(" (")[0] for line in make.said]
        assert stages == [
            "preparing a FakeForCausalLM",
            "loading the weights",
            "loading the weights: shard 1 of 2",
        ]
        processes = tree(server.pid)
        assert len(processes) == 2
        server.stop()
        server.stop()
        assert not any(map(lives, processes))

    def test_one_that_ends_while_it_starts_is_told_with_the_reason_in_its_log(self, make, model):
        write_checkpoint(model, fake=Behaviour.EXITS)
        server = make()
        with pytest.raises(
            ServerFailed,
            match=r"ended while it started \(exit code 1\): ValueError: the weights cannot be loaded",
        ):
            server.start()
        assert "| ValueError: the weights cannot be loaded" in make.said
        assert server.pid is None

    def test_one_that_never_answers_is_ended(self, make, model):
        write_checkpoint(model, fake=Behaviour.HANGS)
        server = make(care=Care(start_s=0.6, grace_s=1))
        with pytest.raises(ServerFailed, match=r"did not answer within 0\.6 s.*--start-timeout.*server\.log"):
            server.start()
        assert server.pid is None

    def test_one_that_is_healthy_and_does_not_answer_is_no_server(self, make, model):
        write_checkpoint(model, fake=Behaviour.MUTE)
        with pytest.raises(ServerFailed, match=r"started, but .*500: Internal server error"):
            make().start()

    def test_a_folder_that_is_not_whole_starts_nothing(self, make, model):
        (model / "model.safetensors").unlink()
        server = make()
        with pytest.raises(WeightsError):
            server.start()
        assert not server.log.exists()

    def test_a_program_that_is_gone(self, make, build):
        build.program.unlink()
        with pytest.raises(ServerFailed, match="cannot be started: No such file"):
            make().start()

    def test_another_server_on_its_port_is_not_taken_for_it(self, make, tmp_path):
        first = make()
        first.start()
        second = make(write_checkpoint(tmp_path / "second"))
        second.options = ServeOptions(model=second.options.model, name="tiny", port=first.options.port)
        second.probe = Probe(first.options.root)
        with pytest.raises(ServerFailed):
            second.start()
        assert says(first) == "old"


class TestEnd:
    def test_what_ignores_sigterm_is_killed_with_the_children_that_left_its_group(self, make, model):
        write_checkpoint(model, fake=Behaviour.STUBBORN)
        server = make(care=Care(start_s=20, grace_s=0.3))
        server.start()
        processes = tree(server.pid)
        assert len(processes) == 4, "with its tracker of shared memory"
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 5
        assert not any(map(lives, processes))

    def test_shared_memory_of_what_was_killed_is_removed(self, make, model):
        write_checkpoint(model, fake=Behaviour.STUBBORN)
        server = make(care=Care(start_s=20, grace_s=0.1))
        server.start()
        (name,) = re.findall(r"^memory (\S+)$", server.log.read_text(), re.M)
        assert (Path("/dev/shm") / name).exists()
        server.stop()
        assert not (Path("/dev/shm") / name).exists()

    @pytest.mark.parametrize("behaviour", [Behaviour.WELL, Behaviour.STUBBORN])
    @pytest.mark.parametrize("forks", [False, True], ids=["alone", "after a fork"])
    def test_when_its_owner_is_killed_nothing_is_left(self, tmp_path, build, model, behaviour, forks):
        write_checkpoint(model, fake=behaviour)
        words = [build.program, model, free_port(), tmp_path / "s", int(forks)]
        command = [sys.executable, "-c", OWNER, *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
            guard, child = map(int, owner.stdout.readline().split())
            processes = tree(guard)
            assert len(processes) >= 2
            owner.kill()
            until(lambda: not any(map(lives, processes)))
            if child:
                os.kill(child, signal.SIGKILL)

    def test_when_its_guard_is_killed_the_server_does_not_serve_on_unseen(self, make):
        server = make()
        server.start()
        (guard, served) = tree(server.pid)
        os.kill(guard, signal.SIGKILL)
        until(lambda: not lives(served))

    @pytest.mark.parametrize("ends_first", [True, False])
    def test_a_process_whose_first_thread_has_ended_is_ended_with_what_it_started(self, tmp_path, ends_first):
        """It looks like a dead one, and cannot be waited for."""
        (tmp_path / "half.py").write_text(HALF_DEAD)
        half = f"{sys.executable} {tmp_path / 'half.py'}"
        served = f"{half} & trap exit TERM; sleep 600 & wait" if ends_first else f"exec {half}"
        command = [sys.executable, "-I", guard.__file__, str(os.getpid()), "0.3", "sh", "-c", served]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
            started = int(running.stdout.readline())
            until(lambda: not lives(parent_of(started)))
            assert lives(started)
            running.stdin.close()
            running.wait(15)
            assert not lives(started)

    def test_a_start_that_is_interrupted_leaves_nothing(self, make, model):
        write_checkpoint(model, fake=Behaviour.HANGS)
        server = make()
        failed = []

        def start():
            try:
                server.start()
            except ServerFailed as error:
                failed.append(error)

        starting = threading.Thread(target=start)
        starting.start()
        until(lambda: server.pid is not None)
        processes = tree(server.pid)
        server.stop()
        starting.join(10)
        assert failed
        assert not any(map(lives, processes))


HALF_DEAD = """
import ctypes, platform, subprocess, threading, time
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
threading.Thread(target=time.sleep, args=(600,)).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()])  # the exit of one thread
"""
OWNER = """
import os, sys, time
from pathlib import Path
from discovery.generation.server import Care, ModelServer
from discovery.generation.vllm import Build, ServeOptions
program, model, port, home, forks = sys.argv[1:]
options = ServeOptions(model=model, name="tiny", port=int(port))
server = ModelServer(Build(program=Path(program), version=None), options, Path(home), care=Care(grace_s=0.3))
server.start()
child = os.fork() if int(forks) else 0  # it has whatever its parent had open
if child or not int(forks):
    print(server.pid, child, flush=True)
time.sleep(600)
"""


class TestDeath:
    def test_it_is_started_again_with_its_adapters(self, make, tmp_path, model):
        server = make(adapters=AdapterRoom(rank=8))
        server.start()
        name = server.publish(write_adapter(tmp_path / "adapter", model, says="new")).model
        before = server.pid
        kill_model(server)
        until(lambda: any("serves tiny again" in line for line in make.said))
        assert server.pid != before
        assert (says(server), says(server, name)) == ("old", "new")
        assert server.failure is None

    def test_it_is_given_up_after_too_many_deaths(self, make):
        server = make()
        server.start()
        for deaths in range(1, CARE.restarts + 1):
            kill_model(server)
            until(lambda deaths=deaths: sum("serves tiny again" in line for line in make.said) == deaths)
        kill_model(server)
        until(lambda: server.failure is not None)
        assert "died (exit code 3)" in str(server.failure)
        assert "3 times within 15 min" in str(server.failure)

    def test_weights_that_were_written_over_are_not_served_under_the_old_name(self, make, model):
        server = make()
        server.start()
        write_checkpoint(model, says="new", fill=1)
        kill_model(server)
        until(lambda: server.failure is not None)
        assert "was written over" in str(server.failure)


class TestPublishCheckpoint:
    def test_it_takes_the_place_of_the_old_one(self, make, tmp_path):
        server = make()
        server.start()
        folder = write_checkpoint(tmp_path / "trained", says="new", fill=1)
        published = server.publish(folder)
        assert (published.kind, published.model) == (Kind.CHECKPOINT, "tiny")
        assert says(server) == "new"
        assert server.serving().root == published.revision
        assert Path(published.revision).parent == server.home / "weights"
        assert Path(published.revision).name.startswith("trained-")

    def test_what_is_in_flight_at_the_old_one_is_answered_first(self, make, tmp_path, model):
        write_checkpoint(model, says="old", fake=Behaviour.SLOW)
        server = make(care=Care(start_s=20, grace_s=0.2, drain_s=10))
        server.start()
        server.publish(write_checkpoint(tmp_path / "trained", says="new", fill=1, fake=Behaviour.SLOW))
        assert server.log.read_text().count("ended by itself") == 1
        server.stop()
        assert server.log.read_text().count("ended by itself") == 1, (
            "nobody waits for that who stops the server"
        )

    def test_one_that_is_not_whole_does_not_touch_the_server(self, make, tmp_path):
        server = make()
        server.start()
        before = server.pid
        folder = write_checkpoint(tmp_path / "trained", fill=1)
        os.truncate(folder / "model.safetensors", 100)
        with pytest.raises(WeightsError, match="not whole"):
            server.publish(folder)
        assert (server.pid, says(server)) == (before, "old")

    @pytest.mark.parametrize("behaviour", [Behaviour.EXITS, Behaviour.MUTE])
    def test_one_that_cannot_be_served_leaves_the_old_one_serving(self, make, tmp_path, behaviour):
        server = make()
        server.start()
        folder = write_checkpoint(tmp_path / "trained", fill=1, fake=behaviour)
        with pytest.raises(ServerFailed, match=r"trained-\w+ is not served; the old weights serve again: "):
            server.publish(folder)
        assert says(server) == "old"
        assert list((server.home / "weights").iterdir()) == []
        kill_model(server)
        until(lambda: any("serves tiny again" in line for line in make.said))
        assert says(server) == "old"

    def test_only_what_can_be_gone_back_to_is_kept(self, make, tmp_path):
        server = make()
        server.start()
        folders = [write_checkpoint(tmp_path / f"m{i}", says=f"m{i}", fill=i) for i in (1, 2, 3)]
        for folder in folders:
            server.publish(folder)
        kept = sorted(place.name[:2] for place in (server.home / "weights").iterdir())
        assert (kept, says(server)) == (["m2", "m3"], "m3")

    def test_the_same_content_again_restarts_nothing(self, make, tmp_path):
        server = make()
        server.start()
        folder = write_checkpoint(tmp_path / "trained", says="new", fill=1)
        first = server.publish(folder)
        before = server.pid
        assert server.publish(folder).revision == first.revision
        assert server.pid == before

    def test_training_into_the_folder_that_is_served_is_refused(self, make, model):
        server = make()
        server.start()
        write_checkpoint(model, says="new", fill=1)
        with pytest.raises(
            WeightsError, match="was written over since; save new weights in a folder of their own"
        ):
            server.publish(model)
        assert says(server) == "old"

    def test_a_server_that_does_not_run(self, make, tmp_path):
        with pytest.raises(ServerFailed, match="discovery serve"):
            make().publish(write_checkpoint(tmp_path / "trained"))


class TestPublishAdapter:
    def test_it_answers_under_a_name_of_its_own_and_the_model_as_before(self, make, tmp_path, model):
        server = make(adapters=AdapterRoom(rank=8))
        server.start()
        before = server.pid
        published = server.publish(write_adapter(tmp_path / "round", model, says="new"))
        assert published.kind is Kind.ADAPTER
        assert published.model.startswith("round-")
        assert (says(server), says(server, published.model), server.pid) == ("old", "new", before)
        assert server.serving().adapters == (published.model,)

    def test_the_same_folder_with_new_content_is_another_name(self, make, tmp_path, model):
        server = make(adapters=AdapterRoom(rank=8))
        server.start()
        names = [
            server.publish(write_adapter(tmp_path / "round", model, says=text, fill=i)).model
            for i, text in enumerate(["first", "second"])
        ]
        assert [says(server, name) for name in names] == ["first", "second"]

    def test_one_that_does_not_answer_leaves_everything_as_it_was(self, make, tmp_path, model):
        server = make(adapters=AdapterRoom(rank=8))
        server.start()
        kept = server.publish(write_adapter(tmp_path / "good", model, says="good")).model
        with pytest.raises(ServerFailed, match=r"bad-\w+ is not served, everything else is as before"):
            server.publish(write_adapter(tmp_path / "bad", model, fill=1, fake=Behaviour.MUTE))
        assert (says(server), says(server, kept)) == ("old", "good")
        assert server.serving().adapters == (kept,)
        assert [place.name for place in (server.home / "weights").iterdir()] == [kept]

    def test_a_server_without_room(self, make, tmp_path, model):
        server = make()
        server.start()
        with pytest.raises(WeightsError, match="--lora"):
            server.publish(write_adapter(tmp_path / "round", model))

    def test_the_oldest_is_unloaded(self, make, tmp_path, model):
        server = make(adapters=AdapterRoom(rank=8))
        server.start()
        names = [server.publish(write_adapter(tmp_path / f"r{i}", model, fill=i)).model for i in range(3)]
        assert server.serving().adapters == tuple(names[1:])
        assert any(names[0] in line for line in make.said)

    def test_a_new_checkpoint_has_none_of_the_old_ones_adapters(self, make, tmp_path, model):
        server = make(adapters=AdapterRoom(rank=8))
        server.start()
        server.publish(write_adapter(tmp_path / "round", model))
        server.publish(write_checkpoint(tmp_path / "trained", fill=1))
        assert server.serving().adapters == ()
        kill_model(server)
        until(lambda: any("serves tiny again" in line for line in make.said))
        assert server.serving().adapters == ()
        assert not any("is not served any more" in line for line in make.said)

    def test_into_a_server_that_somebody_else_looks_after(self, make, tmp_path, model):
        server = make(adapters=AdapterRoom(rank=8))
        server.start()
        published = publish_adapter(
            write_adapter(tmp_path / "round", model, says="new"), server.options.url, tmp_path / "shelf"
        )
        assert says(server, published.model) == "new"
        with pytest.raises(UsageError, match="checkpoint, which takes a restart"):
            publish_adapter(model, server.options.url, tmp_path / "shelf")
        with pytest.raises(WeightsError, match="trained for another model"):
            publish_adapter(
                write_adapter(tmp_path / "wide", hidden=8), server.options.url, tmp_path / "shelf"
            )

    def test_into_one_that_takes_none(self, make, tmp_path, model):
        server = make()
        server.start()
        with pytest.raises(ServerFailed, match=r"takes no adapters while it runs.*--lora"):
            publish_adapter(write_adapter(tmp_path / "round", model), server.options.url, tmp_path / "shelf")


class TestControl:
    @pytest.fixture
    def running(self, build, model):
        """A server that others find, and its record."""
        options = ServeOptions(model=str(model), name="tiny", port=free_port(), adapters=AdapterRoom(rank=8))
        with enrolled(options) as home, ModelServer(build, options, home, care=CARE) as server:
            server.start()
            with Control(server):
                (record,) = running_servers()
                yield server, record

    def test_it_is_found_and_takes_weights(self, running, tmp_path, model):
        server, record = running
        assert (record.name, record.model, record.url) == ("tiny", str(model), server.options.url)
        told = []
        published = ask_to_publish(record, write_adapter(tmp_path / "round", model, says="new"), told.append)
        assert says(server, published.model) == "new"
        assert any("copying" in line for line in told)

    def test_refusals_come_as_they_were_raised(self, running, tmp_path):
        server, record = running
        with pytest.raises(WeightsError, match="gone is no folder"):
            ask_to_publish(record, tmp_path / "gone")
        with pytest.raises(ServerFailed, match="the old weights serve again"):
            ask_to_publish(record, write_checkpoint(tmp_path / "bad", fill=1, fake=Behaviour.EXITS))
        assert says(server) == "old"

    def test_only_its_user_may_ask(self, running):
        _, record = running
        assert stat.S_IMODE((record.home / "control").stat().st_mode) == 0o600
        assert stat.S_IMODE(record.home.stat().st_mode) == 0o700

    @pytest.mark.parametrize("request_line", [b"\n", b"{}\n", b"[]\n", b"no json\n", b""])
    def test_what_is_no_request_is_answered_and_harms_nothing(self, running, request_line, monkeypatch):
        server, record = running
        monkeypatch.chdir(record.home)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect("control")
            connection.sendall(request_line)
            connection.shutdown(socket.SHUT_WR)
            assert json.loads(connection.makefile().read())["failed"] == "UsageError"
        assert says(server) == "old"

    def test_who_leaves_before_the_end_ends_nothing(self, running, tmp_path, monkeypatch):
        server, record = running
        folder = write_checkpoint(tmp_path / "trained", says="new", fill=1)
        monkeypatch.chdir(record.home)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect("control")
            connection.sendall(json.dumps({"publish": str(folder)}).encode() + b"\n")
        until(lambda: server.options.model != record.model)
        until(lambda: server.probe.healthy())
        assert says(server) == "new"

    def test_a_port_has_one_owner(self, running):
        server, _ = running
        with pytest.raises(UsageError, match="another `discovery serve`"), enrolled(server.options):
            pytest.fail("two own one port")

    def test_a_record_of_one_that_was_killed_is_not_believed(self, own_home):
        home = homes() / "8000"
        home.mkdir(parents=True)
        (home / "server.json").write_text(
            json.dumps({"name": "x", "model": "x", "url": "http://127.0.0.1:8000/v1"})
        )
        (home / "lock").write_text("")
        assert running_servers() == []


def test_a_home_that_cannot_be_written(own_home):
    own_home.write_text("")
    with pytest.raises(UsageError, match="DISCOVERY_HOME"), enrolled(ServeOptions(model="m", name="m")):
        pytest.fail("enrolled nowhere")


class TestProbe:
    def test_nobody_there(self):
        probe = Probe(f"http://127.0.0.1:{free_port()}/v1")
        assert not probe.healthy()
        with pytest.raises(ServerFailed, match="does not answer"):
            probe.cards()

    def test_a_key_that_cannot_be_sent_is_not_said_either(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-top\nsecret")
        with pytest.raises(UsageError, match="OPENAI_API_KEY") as raised:
            Probe(f"http://127.0.0.1:{free_port()}").cards()
        assert "secret" not in str(raised.value)

    def test_its_key_is_sent_and_never_said(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        with pytest.raises(ServerFailed) as raised:
            Probe(f"http://127.0.0.1:{free_port()}").cards()
        assert "sk-secret" not in str(raised.value)
