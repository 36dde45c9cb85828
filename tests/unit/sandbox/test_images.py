"""What goes into an image, and that equal things make equal images."""

import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from discovery.errors import SandboxError
from discovery.sandbox import images
from discovery.sandbox.images import Contents
from discovery.sandbox.python import interpreter


def small(tmp_path: Path, **changes) -> Contents:
    script = tmp_path / "tool"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o4711)
    text = tmp_path / "text"
    text.write_bytes(b"x" * 1000)
    text.chmod(0o600)
    os.utime(text, (1_000_000_000.9, 1_000_000_000.9))
    values = {
        "files": {"/usr/bin/tool": script, "/site/a/text": text},
        "links": {"/bin": "usr/bin"},
        "made": {"/etc/passwd": b"candidate\n"},
        "folders": ("/tmp", "/box"),
        "environment": {},
    }
    return Contents(**{**values, **changes})


def unpacked(contents: Contents) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(contents.tar()))) as archive:
        return {member.name: member for member in archive}


def test_a_tar_is_equal_for_equal_files_in_any_order(tmp_path):
    contents = small(tmp_path)
    turned = small(tmp_path, files=dict(reversed(contents.files.items())), folders=("/box", "/tmp"))
    assert b"".join(contents.tar()) == b"".join(turned.tar())


def test_a_tar_holds_owners_modes_and_times_that_anybody_may_see(tmp_path):
    members = unpacked(small(tmp_path))
    assert {m.uid for m in members.values()} == {m.gid for m in members.values()} == {0}
    assert members["usr/bin/tool"].mode == 0o755  # never the owner's own bits, setuid least of all
    assert (members["site/a/text"].mode, members["site/a/text"].size) == (0o644, 1000)
    assert members["site/a/text"].mtime == 1_000_000_000  # whole seconds: what compiled modules remember
    assert members["bin"].linkname == "usr/bin"
    assert members["tmp"].mode == 0o1777
    assert [name for name, m in members.items() if m.isdir()] == [
        "box",
        "etc",
        "site",
        "site/a",
        "tmp",
        "usr",
        "usr/bin",
    ]


def test_a_file_that_shrinks_meanwhile_is_an_error_not_a_broken_archive(tmp_path):
    contents = small(tmp_path)
    big = tmp_path / "text"
    big.write_bytes(bytes(4 << 20))
    stream = contents.tar()
    for piece in stream:
        if len(piece) == 1 << 20:
            os.truncate(big, 100)
            break
    with pytest.raises(SandboxError, match="text became shorter"):
        list(stream)


@pytest.fixture(scope="module")
def plain() -> Contents:
    return images.contents()


def test_an_image_holds_the_interpreter_and_no_other_package(plain):
    names = set(plain.files)
    assert str(interpreter().executable) in names
    assert any(name.endswith("/json/__init__.py") for name in names)
    assert not [n for n in names if "-packages/" in n]
    assert not [n for n in names if n.endswith(".opt-2.pyc")]
    compiled = f"/json/__pycache__/__init__.{sys.implementation.cache_tag}.pyc"
    assert any(name.endswith(compiled) for name in names)


def test_an_image_holds_nothing_of_this_machines_secrets(plain):
    assert [n for n in plain.files if n.startswith("/etc/")] in ([], ["/etc/ld.so.cache"])
    assert b"candidate" in plain.made["/etc/passwd"]
    checkout = str(Path(images.__file__).resolve().parents[2])
    assert not [n for n, p in plain.files.items() if str(p).startswith(checkout)]
    outside = [n for n in plain.files if not n.startswith(("/usr/", "/lib", "/bin/", "/etc/ld.so.cache"))]
    base = (str(interpreter().executable.parent.parent), sys.base_prefix)
    assert not [n for n in outside if not n.startswith(base)]


def test_every_library_that_a_program_of_an_image_loads_is_in_it(plain):
    libraries = {Path(n).name for n in (*plain.files, *plain.links)}
    assert any(n.startswith("libc.") for n in libraries)
    assert any(n.startswith("ld-") for n in libraries)


def test_packages_lie_under_one_folder_with_what_is_compiled_of_them(tmp_path, monkeypatch):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "outside").symlink_to("/etc/shadow")
    monkeypatch.syspath_prepend(str(tmp_path))
    images.package_files.cache_clear()
    tree = images._Tree()
    for name, path in images.package_files(("mine",)):
        tree.folder(path, Path("/site") / name, without=set(), packages=True)
    assert tree.files == {"/site/mine/__init__.py": package / "__init__.py"}
    assert tree.links == {"/site/mine/outside": "/etc/shadow"}  # a link, never what it leads to


def test_the_hash_changes_with_what_goes_in_and_with_nothing_else(tmp_path, monkeypatch):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    images.package_files.cache_clear()
    first = images.content_hash("python", ("mine",))
    (package / "__pycache__").mkdir()
    (package / "__pycache__/x.pyc").write_text("compiled by whoever imported it first")
    assert images.content_hash("python", ("mine",)) == first
    assert images.content_hash("python", ("mine", "mine")) == first
    assert images.content_hash("python", ()) != first
    (package / "__init__.py").write_text("A = 2\n")
    os.utime(package / "__init__.py", (1, 1))
    assert images.content_hash("python", ("mine",)) != first
    assert images.tag("python", ()) == f"discovery-python:{images.content_hash()}"


def test_links_on_the_way_to_a_file_are_taken(tmp_path):
    real = tmp_path / "lib/real.so.1"
    real.parent.mkdir()
    real.write_text("")
    (tmp_path / "lib/real.so").symlink_to("real.so.1")
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "again").symlink_to(tmp_path / "lib64/../lib64/real.so")
    tree = images._Tree()
    assert tree.path(tmp_path / "again") == real
    assert set(tree.files) == {str(real)}
    assert tree.links[f"{tmp_path}/lib64"] == "lib"
    assert tree.links[f"{tmp_path}/lib/real.so"] == "real.so.1"
    (tmp_path / "round").symlink_to("round")
    assert tree.path(tmp_path / "round") is None
    assert tree.path(tmp_path / "absent") is None


def test_a_program_counts_by_what_it_is_and_not_by_when_it_was_touched(tmp_path, monkeypatch):
    tool = tmp_path / "tool"
    tool.write_bytes(b"one build")
    programs = images.recipes.programs
    monkeypatch.setattr(images.recipes, "programs", lambda recipe: {**programs(recipe), "tool": tool})
    first = images.content_hash()
    os.utime(tool, (1, 1))
    assert images.content_hash() == first
    tool.write_bytes(b"two build")
    assert images.content_hash() != first
