"""Docker sandboxes as a whole: what they hold here, images of one's own, and what a newcomer is told."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from discovery import data
from discovery.declared import Limits
from discovery.sandbox import make_backend
from discovery.sandbox.base import FunctionCall, SandboxSpec
from discovery.sandbox.engine import Engine, ImageInUse
from discovery.sandbox.isolation import unmet

pytestmark = pytest.mark.docker
CLI = "import sys; from discovery.cli import main; sys.exit(main())"
RUN = ["run", "constants-10", "--scheduler", "local", "--sandbox", "docker"]
ONE_STEP = ["--chains", "1", "--steps", "1", "--candidates", "1"]


async def test_everything_that_can_be_verified_holds(docker_engine, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")  # candidates have one of their own, which is no leak
    record = await make_backend("docker").verify(SandboxSpec())
    assert record.id.startswith("docker-")
    # Only root may read and set what a container's control group says.
    assert not unmet(record, ["full" if os.geteuid() == 0 else "untrusted"])
    assert {"docker", "storage", "security", "image"} <= set(record.details)


@pytest.fixture
def own_image(docker_engine):
    """Somebody's image, with all that an image can bring to be in the way or to be shared by candidates."""
    docker = pytest.importorskip("docker")
    from discovery.sandbox import images

    changes = [
        'ENTRYPOINT ["false"]',
        'CMD ["nothing"]',
        "USER 1234:1234",
        "WORKDIR /nowhere",
        "ENV KEPT=yes",
    ]
    changes += ["VOLUME /tmp/inside", "VOLUME /shared", "HEALTHCHECK --interval=1s CMD touch /box/sick"]
    api = docker.APIClient(version="auto", **docker.utils.kwargs_from_env())
    made = api.create_container(images.tag(), ["true"])
    try:
        api.commit(made["Id"], repository="own-image", tag="1", changes=changes)
    finally:
        api.remove_container(made["Id"])
        api.close()
    yield "own-image:1"
    deadline = time.monotonic() + 20.0
    with Engine() as engine:
        while True:
            try:
                engine.remove_image("own-image:1")
                break
            except ImageInUse:  # an engine that is busy removes a closed sandbox's container a little later
                assert time.monotonic() < deadline
                time.sleep(0.1)


async def test_an_image_of_ones_own_changes_nothing_about_its_containers(own_image):
    source = """
import os, time
def solve():
    time.sleep(1.2)  # for the health check
    through = ["user"] * (os.getuid() in (0, 1234))
    for folder in ("/shared", "/tmp/inside", "/nowhere", "/"):
        try:
            open(folder + "/left", "w").close()
            through.append(folder)
        except OSError:
            pass
    return [through, os.environ["KEPT"], os.path.exists("/box/sick")]
"""
    sandbox = make_backend("docker").create(SandboxSpec(image=own_image))
    await sandbox.start()
    try:
        request = FunctionCall(
            source=source, function="solve", arguments=data.encode([[], {}]), limits=Limits(wall_s=5)
        )
        result = await sandbox.run(request)
    finally:
        await sandbox.close()
    assert result.failure is None, result.failure
    assert data.decode(result.data) == [[], "yes", False]


def discovery(*arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, "-c", CLI, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_run(docker_engine, tmp_path):
    done = discovery(*RUN, *ONE_STEP, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"status": "finished"' in done.stdout


def test_without_an_engine_one_line_names_the_fix(tmp_path):
    done = discovery(*RUN, folder=tmp_path, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "no Docker engine answers at unix:///nowhere/docker.sock: No such file or directory" in line


def test_without_the_package_one_line_names_the_extra(tmp_path):
    (tmp_path / "docker.py").write_text("raise ImportError('not installed')\n")
    done = discovery(*RUN, folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.endswith("pip install 'discovery-loop[docker]'")


def test_an_image_that_a_container_uses_is_kept(own_image, capsys):
    docker = pytest.importorskip("docker")
    from discovery.cli import main

    api = docker.APIClient(version="auto", **docker.utils.kwargs_from_env())
    labels = ["LABEL discovery.dockerfile=1"]
    first = api.create_container(own_image, ["true"])
    api.commit(first["Id"], repository="own-used", changes=labels)
    user = api.create_container("own-used", ["true"])
    try:
        assert main(["image", "remove", "own-used"]) == 1
        assert f"own-used:latest is kept: the container {user['Id'][:12]} uses it" in capsys.readouterr().err
    finally:
        api.remove_container(user["Id"])
        api.remove_container(first["Id"])
        api.close()
        assert main(["image", "remove", "own-used"]) == 0
    assert capsys.readouterr().out == "removed own-used:latest\n"


def test_without_the_image_one_line_names_the_command(docker_engine, tmp_path):
    problem = tmp_path / "needy"
    shutil.copytree(Path(__file__).parents[2] / "problems/constants-10", problem)
    text = (problem / "problem.py").read_text()
    (problem / "problem.py").write_text(text.replace("    bounds=", '    packages=("idna",),\n    bounds='))
    done = discovery("run", str(problem), *RUN[2:], *ONE_STEP, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.endswith("discovery image build python idna"), line
