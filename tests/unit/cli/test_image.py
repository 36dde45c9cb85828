"""``discovery image`` against an engine that remembers what it was given."""

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from discovery.cli import image, main
from discovery.errors import SandboxError, SandboxUnavailable
from discovery.sandbox import images
from discovery.sandbox.answers import Image
from discovery.sandbox.engine import ImageInUse


class FakeEngine:
    def __init__(self):
        self.have: dict[str, Image] = {}
        self.sizes: list[int] = []
        self.builds: list[tuple[str, str]] = []
        self.used: set[str] = set()

    def image(self, name):
        return self.have.get(name)

    def images(self, label):
        return [one for one in self.have.values() if label in one.labels]

    def _add(self, name, labels, size=1 << 20):
        self.have[name] = Image(
            id=name, labels=dict(labels), names=(name,), size_bytes=size, created_at=datetime.now(UTC)
        )
        return self.have[name]

    def import_image(self, tar, name, *, labels, environment):
        assert environment["PATH"].startswith("/programs")
        return self._add(name, labels, sum(map(len, tar)))

    def build(self, folder, dockerfile, name, *, labels, say):
        say("Step 1/1 : [red]FROM scratch")
        self.builds.append((folder, dockerfile))
        return self._add(name, {"discovery.recipe": "python", **labels})

    def pull(self, name, *, say):
        raise SandboxError("no such host")

    def remove_image(self, name):
        if name in self.used:
            raise ImageInUse("the container c0ffee uses it")
        del self.have[name]


@pytest.fixture
def engine(monkeypatch):
    fake = FakeEngine()

    @contextmanager
    def opened():
        yield fake

    monkeypatch.setattr(image, "Engine", opened)
    small = images.Contents(
        files={}, links={}, made={"/a": b"x"}, folders=(), environment={"PATH": "/programs"}
    )
    monkeypatch.setattr(images, "contents", lambda recipe, packages: small)
    return fake


def said(capsys) -> object:
    return json.loads(capsys.readouterr().out)


def test_an_image_is_built_once_and_then_up_to_date(engine, capsys):
    assert main(["image", "build", "--json"]) == 0
    first = said(capsys)
    assert first["built"]
    assert first["tag"] == images.tag("python", ())
    assert main(["image", "build", "python", "--json"]) == 0
    assert not said(capsys)["built"]
    assert main(["image", "build"]) == 0
    assert "is up to date" in capsys.readouterr().out


PROBLEM = """from discovery import problem

@problem(name="own", statement="x", initial="y", {settings})
def score(program):
    return 0.0
"""


def test_a_problem_says_what_it_needs(engine, capsys, tmp_path):
    (tmp_path / "problem.py").write_text(PROBLEM.replace("{settings}", "packages=['sortedcontainers']"))
    assert main(["image", "build", str(tmp_path), "--json"]) == 0
    assert engine.have[said(capsys)["tag"]].labels["discovery.packages"] == "sortedcontainers"
    assert main(["image", "build", str(tmp_path), "rich", "--json"]) == 0
    assert engine.have[said(capsys)["tag"]].labels["discovery.packages"] == "rich,sortedcontainers"


def test_a_problem_that_names_a_docker_image_is_told_how_to_get_one(engine, capsys, tmp_path):
    (tmp_path / "problem.py").write_text(PROBLEM.replace("{settings}", "image='mine:1'"))
    assert main(["image", "build", str(tmp_path)]) == 2
    assert "--dockerfile PATH --tag mine:1" in capsys.readouterr().err


def test_outdated_images_are_told_and_removed(engine, capsys):
    main(["image", "build"])
    (name,) = engine.have
    old = replace(engine.have[name], labels={**engine.have[name].labels, "discovery.hash": "0" * 12})
    engine.have = {"discovery-python:old": replace(old, names=("discovery-python:old",))}
    capsys.readouterr()
    assert main(["image", "build"]) == 0
    assert "1 image is outdated" in capsys.readouterr().err
    assert main(["image", "list", "--json"]) == 0
    assert {row["tag"]: row["state"] for row in said(capsys)} == {
        name: "current",
        "discovery-python:old": "outdated",
    }
    assert main(["image", "list"]) == 0
    assert "outdated" in capsys.readouterr().out
    assert main(["image", "remove", "--outdated", "--json"]) == 0
    assert said(capsys) == ["discovery-python:old"]
    assert main(["image", "remove", "--all"]) == 0
    assert engine.have == {}
    capsys.readouterr()
    assert main(["image", "list"]) == 0
    assert "no images; make one" in capsys.readouterr().out


def test_a_dockerfile_is_built_from_its_folder_and_is_nobodys_recipe(engine, capsys, tmp_path):
    folder = tmp_path / "My Tools"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    assert main(["image", "build", "--dockerfile", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("built my-tools:latest")
    assert "[red]FROM scratch" in captured.err
    assert engine.builds == [(str(folder), str(folder / "Dockerfile"))]
    assert main(["image", "list", "--json"]) == 0
    (row,) = said(capsys)
    assert (row["recipe"], row["packages"], row["state"]) == (None, [], "own")
    assert main(["image", "remove", "--outdated"]) == 0
    assert "my-tools:latest" in engine.have


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "cobol"], "recipes are: cpp, python, rust"),
        (["build", "python", "no_such_package"], "pip install no_such_package"),
        (["build", "cpp", "--tag", "x"], "--tag x is for --dockerfile"),
        (["build", "cpp", "--dockerfile", "."], "not both"),
        (["build", "--dockerfile", "/nowhere"], "there is no Dockerfile /nowhere"),
        (["build", "--dockerfile", "HERE", "--tag", "A b"], "'A b' cannot name an image"),
        (["build", "--dockerfile", "HERE", "--tag", "discovery-x"], "are for recipes"),
        (["remove"], "say which"),
        (["remove", "--all", "--outdated"], "say which"),
        (["remove", "debian:12"], "'debian:12' is no image that was made here; `discovery image list`"),
        (
            ["pull", "debian:12"],
            "debian:12 cannot be fetched (no such host); images of recipes need no registry",
        ),
    ],
)
def test_misuse_is_one_line_with_its_fix(engine, capsys, tmp_path, arguments, words):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert main(["image", *(str(tmp_path) if part == "HERE" else part for part in arguments)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_no_engine_is_one_line(monkeypatch, capsys):
    def refuse():
        raise SandboxUnavailable("no Docker engine answers at unix:///nope: Connection refused")

    monkeypatch.setattr(image, "Engine", refuse)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nope")
    assert main(["image", "list"]) == 2
    assert "no Docker engine answers at unix:///nope: Connection refused: set DOCKER_HOST" in (
        capsys.readouterr().err
    )


def test_an_image_in_use_is_kept_and_the_others_are_removed(engine, capsys, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    for tag in ("a", "b", "c"):
        main(["image", "build", "--dockerfile", str(tmp_path), "--tag", tag])
    engine.used = {"a:latest"}
    capsys.readouterr()
    assert main(["image", "remove", "b"]) == 0, "a name without a tag is that of the latest"
    assert main(["image", "remove", "--all", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == 'removed b:latest\n["c:latest"]\n'
    assert "a:latest is kept: the container c0ffee uses it; end the run" in captured.err
    assert list(engine.have) == ["a:latest"]
