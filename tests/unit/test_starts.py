"""Several initial candidates in a declaration: a list, a folder, and what is wrong with them."""

import pytest

from discovery.family import shipped_variants
from discovery.problem import DeclarationError, problem

INITIAL = "def solve():\n    return 1\n"
FURTHER = INITIAL.replace("1", "2")
FRAMED = "# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\ndef solve():\n    return x\n"


def declare(**changes):
    return problem(**{"name": "toy", "statement": "Do it.", **changes})(lambda program: 0.0)


def beside(folder, **changes):
    """Declare in a file of its own, so that texts are looked for beside it."""
    path = folder / "problem.py"
    path.write_text("def score(program):\n    return 0.0\n")
    space = {"__name__": "plugin"}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return problem(**{"name": "toy", "statement": "Do it.", **changes})(space["score"])


def test_several_initial_candidates_are_a_list_or_a_folder(tmp_path):
    listed = declare(initial=[INITIAL, FURTHER])
    assert (listed.initial, listed.others, listed.initials) == (INITIAL, (FURTHER,), (INITIAL, FURTHER))
    assert declare(initial=[INITIAL]).initials == (INITIAL,)
    (tmp_path / "initial.py").write_text(INITIAL)
    folder = tmp_path / "initials"
    folder.mkdir()
    (folder / "b.py").write_text("x = 3\n" + INITIAL)
    (folder / "a.py").write_text(FURTHER)
    (folder / ".swp").write_text("no candidate")
    (folder / "__pycache__").mkdir()
    assert beside(tmp_path, statement="s").initials == (INITIAL, FURTHER, "x = 3\n" + INITIAL)
    assert beside(tmp_path, statement="s", initial=INITIAL).initials == (INITIAL,), "a list says all of them"


def test_a_variant_has_further_initial_candidates_of_its_own(tmp_path):
    (tmp_path / "initial-9.py").write_text(INITIAL)
    for name in ("initials", "initials-9"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text(f"# {name} {{variant}}\n{INITIAL}")
    assert beside(tmp_path, statement="s", variant="9").others == (f"# initials-9 9\n{INITIAL}",)
    (tmp_path / "initial-8.py").write_text(INITIAL)
    assert beside(tmp_path, statement="s", variant="8").others == (f"# initials 8\n{INITIAL}",)
    assert shipped_variants(tmp_path) == ["8", "9"], "the folders are no variants"


def test_the_version_covers_further_initial_candidates_and_is_as_ever_without():
    def version(*initial):
        return declare(initial=list(initial)).version

    assert version(INITIAL) == declare(initial=INITIAL).version
    third = "x = 3\n" + INITIAL
    versions = {version(INITIAL), version(INITIAL, FURTHER), version(INITIAL, FURTHER, third)}
    assert len(versions | {version(INITIAL, third, FURTHER), version(FURTHER, INITIAL)}) == 5


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ([], r"initial is \[\]; give a program's text, or a list of at least one of them"),
        ([INITIAL, 3], "give a program's text, or a list"),
        ([INITIAL, " \n"], "initial-1 is empty; write a program that scores, or leave it out"),
        ([INITIAL, FURTHER, INITIAL], "initial-2 is the same as initial; keep one of them"),
        ([FRAMED, FURTHER], "initial-1 has 0 EVOLVE-BLOCK regions, and initial has 1"),
        (
            [FRAMED, FRAMED.replace("return x", "return -x")],
            "initial-1 differs from initial outside of its EVOLVE-BLOCK regions, at 'return -x' where initial has "
            "'return x'",
        ),
        ([FRAMED, FRAMED.replace("# EVOLVE-BLOCK-END\n", "")], "the markers of initial-1: .* never closed"),
    ],
)
def test_faults_of_further_initial_candidates_are_named(initial, message):
    with pytest.raises(DeclarationError, match=message):
        declare(initial=initial)


def test_faults_of_a_folder_of_initial_candidates_are_named(tmp_path):
    (tmp_path / "initial.py").write_text(INITIAL)
    folder = tmp_path / "initials"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.py").write_bytes(b"\xff\xfe")
    (folder / "notes.md").write_text("Notes.")
    with pytest.raises(DeclarationError) as caught:
        beside(tmp_path, statement="s")
    unread, deep, kinds = caught.value.faults
    assert "a.py cannot be read" in unread
    assert "deep is a folder; initials/ holds further initial candidates, a file each" in deep
    assert "end in '.md', '.py'; all are initial candidates" in kinds


def test_candidates_of_several_files_have_one_initial_candidate(tmp_path):
    (tmp_path / "initial").mkdir()
    (tmp_path / "initial" / "main.py").write_text(INITIAL)
    (tmp_path / "initial" / "other.py").write_text("x = 1\n")
    beside(tmp_path, statement="s")
    (tmp_path / "initials").mkdir()
    with pytest.raises(DeclarationError, match="candidates of several files have one initial candidate"):
        beside(tmp_path, statement="s")
