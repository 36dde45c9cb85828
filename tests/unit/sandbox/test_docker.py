"""What a container is made of, and what is said where none can be had. The real thing: tests/contract."""

import os
import sys

import pytest

from discovery.declared import Limits
from discovery.errors import MissingComponent, SandboxUnavailable
from discovery.owner import this_owner
from discovery.sandbox import docker, make_backend
from discovery.sandbox.answers import Container, Image
from discovery.sandbox.base import SandboxSpec
from discovery.sandbox.container import OWNER_LABEL, RUN_LABEL, described
from discovery.sandbox.docker import DockerBackend, _meeting_place, _name

DEAD = this_owner().replace(f"|{os.getpid()}|", "|999999999|")
IMAGE = Image(id="sha256:1", volumes=("/data",), labels={})


class FakeEngine:
    """An engine with some images and containers."""

    def __init__(self, *, local=True, recipes=(), images=(), containers=()):
        self.is_local = local
        self._recipes, self._images, self._containers = recipes, images, containers
        self.removed = []

    def __call__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def images(self, label):
        return self._recipes

    def image(self, name):
        return IMAGE if name in self._images else None

    def labelled(self, label):
        return self._containers

    def remove(self, container, *, patience_s=0.0):
        self.removed.append(container)


def absent(*args, **kwargs):
    raise SandboxUnavailable("no Docker engine answers at unix:///x: No such file or directory")


def test_nothing_is_missing_where_there_is_an_image(monkeypatch):
    monkeypatch.setattr(docker, "Engine", FakeEngine(recipes=["sha256:1"]))
    assert list(make_backend("docker").missing()) == []


def test_each_missing_thing_is_a_line_that_ends_with_the_fix(monkeypatch, tmp_path):
    monkeypatch.setattr(docker, "Engine", FakeEngine())
    (line,) = DockerBackend().missing()
    assert line.endswith(": discovery image build")
    monkeypatch.setattr(docker, "Engine", FakeEngine(local=False))
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    (line,) = DockerBackend().missing()
    assert "tcp://elsewhere:2375" in line
    assert line.endswith(": unset DOCKER_HOST")


@pytest.mark.parametrize(
    ("installed", "host", "fix"),
    [
        (False, None, ": sudo apt-get install docker.io"),
        (True, None, ": sudo systemctl start docker"),
        (True, "unix:///x", "or unset it"),
    ],
)
def test_an_engine_that_is_not_there(monkeypatch, installed, host, fix):
    monkeypatch.setattr(docker, "Engine", absent)
    monkeypatch.setattr(docker.shutil, "which", lambda name, path: "/usr/sbin/dockerd" if installed else None)
    monkeypatch.setattr(docker.os, "geteuid", lambda: 0)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    if host:
        monkeypatch.setenv("DOCKER_HOST", host)
    (line,) = DockerBackend().missing()
    assert line.startswith("no Docker engine answers at unix:///x: ")
    assert line.endswith(fix)


def test_the_package_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "docker", None)
    (line,) = DockerBackend().missing()
    assert line.endswith("pip install 'discovery-loop[docker]'")


def test_an_image_that_is_not_there_is_named_with_the_command_that_makes_it():
    with pytest.raises(MissingComponent, match="discovery image build python numpy"):
        docker._image(FakeEngine(), SandboxSpec(packages=("numpy",)))
    with pytest.raises(MissingComponent, match="image build --dockerfile PATH --tag mine:1"):
        docker._image(FakeEngine(), SandboxSpec(image="mine:1"))
    assert docker._image(FakeEngine(images=["mine:1"]), SandboxSpec(image="mine:1")) is IMAGE
    name = docker.images.tag("python", ())
    assert docker._image(FakeEngine(images=[name]), SandboxSpec()) is IMAGE


def test_a_container_is_closed_on_every_side(tmp_path):
    limits = Limits(memory_bytes=1 << 28, processes=5, file_bytes=1 << 20)
    spec = SandboxSpec(limits=limits, label="run-1", environment={"KEY": "v"}, extra_readable=("/data",))
    made = described(spec, IMAGE, tmp_path)
    host = made["HostConfig"]
    assert made["NetworkDisabled"]
    assert (host["NetworkMode"], host["IpcMode"], host["Privileged"]) == ("none", "none", False)
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["SETUID", "SETGID"])
    assert host["SecurityOpt"] == ["no-new-privileges"]  # nothing that turns the engine's own filter off
    assert host["ReadonlyRootfs"]
    assert all(mount["ReadOnly"] for mount in host["Mounts"])
    assert not {"Binds", "Devices", "VolumesFrom", "PidMode", "UsernsMode"} & set(host)
    assert host["Memory"] == host["MemorySwap"] > limits.memory_bytes + limits.file_bytes
    assert 5 <= host["PidsLimit"] < 20
    for path in ("/box", "/tmp", "/dev/shm"):
        assert {"nosuid", "nodev", "size=1048576"} <= set(host["Tmpfs"][path].split(","))
    for path in ("/dev/mqueue", "/dev/pts"):
        assert host["Tmpfs"][path].startswith("ro,")
    assert {"/sys", "/proc/cmdline", "/proc/sys", "/etc/hosts", "/data"} <= set(host["MaskedPaths"])
    assert not [path for path in host["MaskedPaths"] if path.rpartition("/")[2].isdigit()]
    assert "/proc/self" not in host["MaskedPaths"]
    assert made["User"] == "0:0"
    assert "HOSTNAME" in made["Env"]
    assert "KEY=v" in made["Env"]
    assert made["Labels"][RUN_LABEL] == "run-1"
    assert made["Labels"][OWNER_LABEL].split("|")[:3] == this_owner().split("|")[:3]
    assert made["Entrypoint"][-1] == "run-1"


def test_names_are_such_as_the_engine_takes():
    name = _name(SandboxSpec(label="run/with spaces: é" + "x" * 100))
    assert name.startswith("discovery-docker-run-with-spaces-")
    assert len(name) < 100
    assert name != _name(SandboxSpec(label="run/with spaces: é" + "x" * 100))


def test_the_meeting_place_is_private_and_gone_afterwards(monkeypatch, tmp_path):
    monkeypatch.setattr(docker.tempfile, "tempdir", str(tmp_path / ("long" * 40)))
    (tmp_path / ("long" * 40)).mkdir()
    with _meeting_place() as (folder, _):
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        assert folder.stat().st_mode & 0o777 == 0o755
        assert {path.stat().st_mode & 0o044 for path in folder.iterdir()} == {0o044}
        assert (folder / "zygote.py").is_file()
        assert (folder / "host.sock").is_socket()
    assert not folder.parent.exists()


def test_sweep_removes_what_the_dead_have_left_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.setattr(docker.tempfile, "tempdir", str(tmp_path))
    for name, owner in (("a", DEAD), ("b", this_owner()), ("c", "nonsense"), ("d", None)):
        (tmp_path / f"discovery-docker-{name}").mkdir()
        if owner is not None:
            (tmp_path / f"discovery-docker-{name}" / "owner").write_text(owner)
    engine = FakeEngine(
        containers=[
            Container(id=name, name=f"name-{name}", labels={OWNER_LABEL: owner})
            for name, owner in (("dead", DEAD), ("live", this_owner()), ("odd", "nonsense"))
        ]
    )
    monkeypatch.setattr(docker, "Engine", engine)
    said = DockerBackend().sweep()
    assert engine.removed == ["dead"]
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["b", "c", "d"]
    assert len(said) == 2
    assert "name-dead" in said[1]


def test_sweep_without_an_engine_says_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(docker.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(docker, "Engine", absent)
    assert list(DockerBackend().sweep()) == []


def test_all_sandboxes_of_a_backend_are_of_one_image_while_it_is_there(monkeypatch):
    tags = iter(["discovery-python:1", "discovery-python:2", "discovery-python:3"])
    monkeypatch.setattr(docker.images, "tag", lambda recipe, packages: next(tags))
    used = []
    monkeypatch.setattr(docker, "_launched", lambda engine, spec, image: used.append(image))
    names = ["discovery-python:1", "discovery-python:2", IMAGE.id]
    monkeypatch.setattr(docker, "Engine", FakeEngine(images=names))
    backend = DockerBackend()
    backend._launch(SandboxSpec())
    backend._launch(SandboxSpec())
    assert used == [IMAGE, IMAGE]
    assert next(tags) == "discovery-python:2", "it was asked once for what an image is made from now"
    names.clear()
    with pytest.raises(MissingComponent, match="discovery image build"):
        backend._launch(SandboxSpec())
