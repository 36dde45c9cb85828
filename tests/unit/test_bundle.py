"""Several files as one text: exact both ways, strict, and held to what may change."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.blocks import BlocksMissing
from discovery.bundle import (
    MOST_FILES,
    BundleError,
    BundleFrame,
    bundled,
    layout,
    path_fault,
    read_folder,
    unbundled,
    write_folder,
)
from discovery.errors import ProblemError

LINES = st.one_of(
    st.sampled_from(
        [
            "=== a.py ===",
            "\\=== a.py ===",
            "\\\\=== x",
            "=== ",
            "===",
            " === b ===",
            "\\",
            "",
            "=== a.py ===\r",
        ]
    ),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12),
)
TEXTS = st.lists(LINES, max_size=5).map(lambda lines: "".join(line + "\n" for line in lines))
PARTS = st.from_regex(r"[a-z0-9_][a-z0-9_.-]{0,5}", fullmatch=True)
MARKED = "head = 1\n# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\ntail = 1\n"


@st.composite
def several(draw):
    entry = draw(PARTS.filter(lambda part: part != "binary"))
    files = {entry: draw(TEXTS)}
    for number in range(draw(st.integers(0, 3))):
        files[f"d{number}-/{draw(PARTS)}"] = draw(TEXTS)
    return files


@given(several())
def test_files_come_back_as_they_were(files):
    text = bundled(files)
    found = unbundled(text)
    assert (found, list(found)) == (files, list(files))
    assert bundled(found) == text


@given(st.lists(LINES, max_size=8), st.booleans())
def test_a_text_is_refused_or_the_bundle_of_its_files(lines, ends):
    text = "\n".join(lines) + "\n" * ends
    try:
        files = unbundled(text)
    except BundleError:
        return
    assert bundled(files) == text


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a.py",
        "../a.py",
        "a/../b.py",
        "a//b",
        "a/",
        ".git",
        "-x",
        "a b.py",
        "é.py",
        "a\n",
        "x" * 121,
        "binary",
    ],
)
def test_paths_that_will_not_do(path):
    assert path_fault(path)
    with pytest.raises(BundleError):
        bundled({"main.py": "", path: ""})
    with pytest.raises(BundleError):
        unbundled(f"=== main.py ===\n=== {path} ===\n")


def test_what_is_no_bundle():
    for text in (
        "",
        "x\n",
        "=== a.py ===",
        "=== a.py ===\nx",
        "=== a.py ===\n=== a.py ===\n",
        "=== a b ===\n",
    ):
        with pytest.raises(BundleError):
            unbundled(text)
    with pytest.raises(BundleError, match="1 to 64"):
        bundled({f"f{number}": "" for number in range(MOST_FILES + 1)})
    with pytest.raises(BundleError, match="a file and a folder"):
        bundled({"main": "", "a": "", "a/b": ""})


def test_a_layout_has_just_the_problems_files():
    text = bundled({"main.py": "import b\n", "b.py": "x = 1\n"})
    laid = layout(text, ("main.py", "b.py"))
    assert (laid.file, laid.source, dict(laid.files)) == ("main.py", "import b\n", {"b.py": "x = 1\n"})
    assert layout("print()", ()).files == {}
    for files in (("main.py",), ("main.py", "b.py", "c.py"), ("b.py", "main.py")):
        with pytest.raises(BundleError):
            layout(text, files)


def test_a_folder_comes_back_too(tmp_path):
    files = {"main.py": "a = 1\n", "deep/er/tree.hpp": "=== x ===\n", "empty.py": ""}
    write_folder(tmp_path / "new", files)
    (tmp_path / "new/.hidden").write_text("x")
    (tmp_path / "new/__pycache__").mkdir()
    (tmp_path / "new/__pycache__/x.pyc").write_bytes(b"\xff")
    found = read_folder(tmp_path / "new")
    assert found == files
    assert next(iter(found)) == "main.py"
    assert next(iter(read_folder(tmp_path / "new", "empty.py"))) == "empty.py"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.py", b"", "no file named main"),
        ("main.py", b"\xff", "UTF-8"),
        ("ma in.py", b"", "path will not do"),
    ],
)
def test_folders_with_faults(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=said):
        read_folder(tmp_path)
    with pytest.raises(
        BundleError, match="one has to be the entry x.py" if said.startswith("no file") else said
    ):
        read_folder(tmp_path, "x.py")


# What may change


def frame(**texts):
    return BundleFrame.of(bundled({name + ".py": text for name, text in texts.items()}))


def test_a_file_without_markers_is_frozen_where_another_has_some():
    held = frame(main="import b\n", b=MARKED)
    assert (held.blocks, dict(held.frozen)) == (1, {"main.py": "import b\n"})
    proposed = bundled(
        {"main.py": "evil\n", "b.py": MARKED.replace("x = 1", "x = 2").replace("head = 1", "head = 2")}
    )
    assert unbundled(held.enforce(proposed)) == {
        "main.py": "import b\n",
        "b.py": MARKED.replace("x = 1", "x = 2"),
    }


def test_all_is_free_where_nothing_is_marked():
    free = frame(main="a\n", b="b\n")
    assert (free.blocks, dict(free.frozen)) == (0, {})
    assert free.contents(bundled({"main.py": "c\n", "b.py": "=== d ===\n"})) == ("c\n", "=== d ===\n")
    assert unbundled(free.fill(("c", "=== x.py ===\n"))) == {"main.py": "c\n", "b.py": "=== x.py ===\n"}


@given(several(), st.data())
def test_contents_fill_their_frame(files, data):
    marked = data.draw(st.sets(st.sampled_from(list(files))))
    initial = {
        path: MARKED.replace("x = 1\n", text.replace("EVOLVE-BLOCK", "")) if path in marked else text
        for path, text in files.items()
    }
    source = bundled(initial)
    held = BundleFrame.of(source)
    assert held.fill(held.contents(source)) == source == held.enforce(source)
    changed = held.fill(tuple("=== main.py ===\nnew" for _ in held.contents(source)))
    assert {path: text for path, text in unbundled(changed).items() if path in held.frozen} == held.frozen
    assert list(unbundled(changed)) == list(files)


@given(several())
def test_no_text_gets_past_the_frame(files):
    held = frame(main="import b\n", b=MARKED)
    for text in (bundled(files), bundled({**files, "b.py": "\n"}), "".join(files.values())):
        with pytest.raises(BlocksMissing):
            held.enforce(text)


def test_markers_are_told_with_their_file():
    with pytest.raises(ProblemError, match=re.escape("b.py, an EVOLVE-BLOCK-START is never closed")):
        frame(main="a\n", b="# EVOLVE-BLOCK-START\n")
    with pytest.raises(BlocksMissing, match=r"b\.py: .*regions"):
        frame(main="", b=MARKED + MARKED).enforce(bundled({"main.py": "", "b.py": MARKED}))
