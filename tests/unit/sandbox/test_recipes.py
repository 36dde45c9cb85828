"""What recipes find on a machine, with tools whose answers are ours."""

from pathlib import Path

import pytest

from discovery.errors import MissingComponent
from discovery.sandbox import recipes
from discovery.sandbox.recipes import Ask, Recipe


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A folder on the PATH, and a function that puts a program into it."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    recipes._said.cache_clear()
    recipes._host_paths.cache_clear()

    def make(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    yield make
    recipes._said.cache_clear()
    recipes._host_paths.cache_clear()


def test_every_shipped_recipe_reads_and_says_how_to_get_what_it_needs():
    assert {"python", "cpp", "rust"} <= set(recipes.names())
    for name in recipes.names():
        recipe = recipes.load(name)
        assert recipe.summary
        assert {name for name, install in recipe.wants if install} >= set(recipe.programs)


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(MissingComponent, match=r"no recipe 'cobol'; there are: cpp, python, rust"):
        recipes.load("cobol")


def test_answers_are_the_paths_that_are_there(tool, tmp_path):
    (tmp_path / "crt1.o").write_text("")
    tool("cc1", f'case "$1" in -file=crt1.o) echo {tmp_path}/crt1.o;; *) echo "${{1#-file=}}";; esac')
    ask = Ask(command=("cc1", "-file={}"), names=("crt1.o", "absent.o"))
    assert list(recipes.answers(ask)) == [tmp_path / "crt1.o"]


def test_what_a_linkers_script_names_is_taken_too(tool, tmp_path):
    (tmp_path / "libreal.a").write_bytes(b"!<arch>\n")
    script = tmp_path / "libm.a"
    script.write_text(f"/* GNU ld script */\nGROUP ( {tmp_path}/libreal.a {tmp_path}/gone.a )\n")
    tool("ask", f"echo {script}")
    assert list(recipes.answers(Ask(command=("ask",)))) == [script, tmp_path / "libreal.a"]


def test_a_pattern_picks_lines_of_an_answer(tool, tmp_path):
    tool("ask", f"echo 'search starts here:' >&2; echo ' {tmp_path}' >&2; echo {tmp_path}/not")
    assert list(recipes.answers(Ask(command=("ask",), pattern="^ (/.*)$"))) == [tmp_path]


def test_a_missing_program_is_named_with_its_command(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MissingComponent, match=r"takes g\+\+, gcc, as, ld, which are .*: sudo apt-get install"
    ):
        recipes.host_paths("cpp")


def test_of_what_a_recipe_includes_only_the_missing_is_to_be_installed(tool, monkeypatch):
    for name in ("g++", "gcc", "as", "ld"):
        tool(name, "exit 0")
    monkeypatch.setattr(recipes.shutil, "which", lambda name: None if name == "rustc" else f"/usr/bin/{name}")
    assert recipes.load("rust").missing() == (
        "the image 'rust' takes rustc, which is not installed: sudo apt-get install rustc"
    )


def test_a_toolchain_outside_of_the_system_is_readable_and_found(tool, tmp_path):
    home = tmp_path / "home/.rustup/stable"
    (home / "bin").mkdir(parents=True)
    for name in ("g++", "gcc", "as", "ld"):
        tool(name, "exit 0")
    tool("rustc", f"echo {home}")
    found = recipes.host_paths("rust")
    assert home in found.readable
    assert home / "bin" in found.path
    assert recipes.host_paths(None) == recipes.host_paths("python") == recipes.HostPaths()


def test_an_image_that_is_no_recipe_needs_docker():
    with pytest.raises(MissingComponent, match="only Docker can have it: --sandbox docker"):
        recipes.host_paths("debian:12")
    assert recipes.is_recipe(None)
    assert recipes.is_recipe("cpp")
    assert not recipes.is_recipe("debian:12")


def test_a_recipe_has_what_it_includes(monkeypatch):
    rust = recipes.load("rust")
    assert {"g++", "ld"} <= set(rust.programs)
    assert recipes.load("cpp").text in rust.text
    assert isinstance(rust, Recipe)
