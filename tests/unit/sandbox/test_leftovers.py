"""Removing what a program left, whatever it made of it."""

import importlib.util
import os

import pytest

from discovery.sandbox.python import zygote_files


@pytest.fixture(scope="module")
def leftovers():
    (path,) = (path for path in zygote_files() if path.name == "leftovers.py")
    spec = importlib.util.spec_from_file_location("leftovers_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def box(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    (tmp_path / "box/a/b").mkdir(parents=True)
    (tmp_path / "box/a/file").write_text("x")
    (tmp_path / "box/a/b/link").symlink_to(tmp_path / "kept")
    (tmp_path / "box/dangling").symlink_to("nowhere")
    return tmp_path / "box"


def test_what_is_ordinary_goes_without_force(leftovers, box):
    assert leftovers.remove(str(box)) is False
    assert not box.exists()
    assert (box.parent / "kept/file").exists()


def test_what_is_too_deep_for_any_path_goes_too(leftovers, box):
    before = os.getcwd()  # noqa: PTH109
    try:
        os.chdir(box)
        for _ in range(1000):
            os.mkdir("deep")  # noqa: PTH102
            os.chdir("deep")
        with open("file", "w"):  # noqa: PTH123
            pass
        os.symlink(box.parent / "kept", "link")  # noqa: PTH211
    finally:
        os.chdir(before)
    assert leftovers.remove(str(box)) is True
    assert not box.exists()
    assert (box.parent / "kept/file").exists()


def test_what_is_not_there_cannot_be_removed(leftovers, box):
    with pytest.raises(OSError):
        leftovers.remove(str(box / "nothing"))
