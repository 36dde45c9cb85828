"""Problems whose candidates are of several files: declared by a folder, shown and answered file by file."""

from datetime import UTC, datetime

import pytest

from discovery.blocks import START
from discovery.bundle import unbundled, write_folder
from discovery.errors import UsageError
from discovery.evaluator import Evaluator
from discovery.generation.base import ParentView
from discovery.generation.extract import extract
from discovery.generation.fitting import Detail
from discovery.generation.mutation import Mutation
from discovery.generation.prompt import Form, compose
from discovery.inspection import inspected
from discovery.plugins import load_problem
from discovery.problem import DeclarationError
from discovery.records import INITIAL, Candidate, Completion, EvaluationState, FailureKind, ModelIdentity
from discovery.sandbox import make_backend
from discovery.sandbox.spec import spec_of
from discovery.solutions import read_program
from discovery.toolchain import toolchain
from discovery.twists import twisted

DECLARED = """
from discovery import problem

@problem(name="two", statement="Return a number, as near to 3 as can be.", {settings})
def score(program):
    assert list(program.files) == ["main.py", "geometry.py", "notes.txt"], program.files
    return -abs(program.call("solve") - 3)
"""
FILES = {
    "main.py": "import heapq\nfrom geometry import area\n\ndef solve():\n    return area(1.5)\n",
    "geometry.py": f"import bisect\n# {START}\nfactor = 1.25\n# EVOLVE-BLOCK-END\n\n"
    "def area(x):\n    return factor * x\n",
    "notes.txt": "frozen\n" * 20,
}


@pytest.fixture
def declare(tmp_path):
    def make(files=FILES, settings="", **texts):
        folder = tmp_path / "two"
        folder.mkdir()
        (folder / "problem.py").write_text(DECLARED.format(settings=settings))
        write_folder(folder / "initial", files)
        for name, text in texts.items():
            (folder / name.replace("_", ".")).write_text(text)
        return str(folder)

    return make


@pytest.fixture
def two(declare):
    return load_problem(declare())


def completion(text, generator="openai"):
    return Completion(
        key=INITIAL,
        text=text,
        finish_reason="stop",
        model=ModelIdentity(generator=generator),
        created_at=datetime.now(UTC),
    )


def shown(problem, edits=False, **detail):
    parents = [ParentView(key=INITIAL, source=problem.initial, score=-1.0, metrics={})]
    system, user = compose(problem, parents=parents, form=Form(edits=edits), detail=Detail(**detail))
    return system.content, user.content


def test_a_folder_declares_several_files(two):
    assert two.files == ("main.py", "geometry.py", "notes.txt")
    assert unbundled(two.initial) == FILES
    assert dict(two.frame.frozen) == {name: FILES[name] for name in ("main.py", "notes.txt")}
    assert {"heapq", "bisect"} <= set(spec_of(two, toolchain(two.settings), "x").preload)
    assert not list(inspected(two))[1:]  # no bounds are declared


@pytest.mark.parametrize(
    ("files", "settings", "texts", "said"),
    [
        ({"a.py": ""}, "", {}, "no file named main"),
        ({"main.py": "x"}, 'entry_file="b.py"', {}, "one has to be the entry b.py"),
        ({"main.py": ""}, "", {}, "main.py is empty"),
        (FILES, "", {"initial_py": "x"}, "keep one of them"),
        (FILES, 'initial="x", entry_file="main.py"', {}, "entry_file is for several files"),
        ({**FILES, "json.py": ""}, "", {}, "json.py is named like a module"),
        ({**FILES, "numpy/a.py": ""}, 'packages=["numpy"]', {}, "numpy is named like a module"),
        ({**FILES, "g.py": f"# {START}\n"}, "", {}, "g.py, an EVOLVE-BLOCK-START is never closed"),
        ({"main.json": "1"}, 'schema={"type": "number"}', {}, "a solution is one document"),
    ],
)
def test_faults_of_a_declaration(declare, files, settings, texts, said):
    with pytest.raises(DeclarationError) as raised:
        load_problem(declare(files, settings, **texts))
    assert said in " ".join(raised.value.faults)


def test_a_file_that_is_not_python_is_told_by_its_name(declare):
    found = list(inspected(load_problem(declare({**FILES, "geometry.py": "def area(\n"}))))
    assert any("geometry.py: line 1: not Python" in finding.message for finding in found)


def test_a_build_may_name_the_files_itself(declare):
    settings = 'language="cpp", build=["sh", "-c", "g++ -o {binary} *.cpp"], bounds=(0, 9)'
    found = list(inspected(load_problem(declare({"main.cpp": "1\n", "b.cpp": "2\n"}, settings))))
    assert not [finding for finding in found if finding.where == "build"]


def test_a_variant_may_have_a_folder_of_its_own(tmp_path):
    write_folder(tmp_path / "initial", {"main.py": "N = {variant}\n"})
    (tmp_path / "problem.py").write_text(
        "from discovery import problem\n\n"
        "def of(n):\n"
        "    return problem(name=f'f-{n}', statement='s', variant=n)(lambda program: 0.0)\n"
    )
    namespace = {}
    exec(compile((tmp_path / "problem.py").read_text(), str(tmp_path / "problem.py"), "exec"), namespace)
    assert unbundled(namespace["of"]("7").initial) == {"main.py": "N = 7\n"}


@pytest.mark.parametrize("edits", [False, True])
def test_the_prompt_shows_files_and_says_how_to_answer(two, edits):
    system, user = shown(two, edits)
    assert "`geometry.py`:\n\n```python\nimport bisect\n" in user
    assert "frozen\n" not in user
    assert "`notes.txt`:\n\n```text\nfrozen\n" in system
    assert "made of the files `main.py`, `geometry.py`, `notes.txt`" in system
    assert "```python geometry.py" in system
    assert "`main.py` is executed" in system
    assert ("geometry.py\n<<<<<<< SEARCH" in system) is edits
    assert "=== " not in user.replace("=======", "")


def test_texts_may_be_of_several_files(declare):
    files = {"main.txt": f"{START}\nBe brief.\nEVOLVE-BLOCK-END\n", "tone.txt": "Be kind.\n"}
    problem = load_problem(declare(files, 'language="text"'))
    for edits in (False, True):
        system, user = shown(problem, edits)
        assert "`tone.txt`:\n\n```text\nBe kind." in system
        assert "the text that is to be improved" in system
        assert "made of the files `main.txt`, `tone.txt`" in system
        assert "program" not in system
        assert "`main.txt`:\n\n```text\nEVOLVE" in user


def test_frozen_parts_of_files_are_abridged_where_room_is_short(declare):
    long = "".join(f"y{number} = 0\n" for number in range(40)) + FILES["geometry.py"]
    _, user = shown(load_problem(declare({**FILES, "geometry.py": long})), frozen=2)
    assert "lines that stay as they are]" in user
    assert "factor = 1.25" in user


def test_an_answer_makes_a_whole_candidate_of_the_main_parent(two):
    main = two.initial.replace("1.25", "1.5")
    answer = "```python geometry.py\n" + FILES["geometry.py"].replace("1.25", "2.0") + "```"
    made = extract(completion(answer), two, main=main)
    assert made == two.initial.replace("1.25", "2.0")
    edit = "geometry.py\n<<<<<<< SEARCH\nfactor = 1.5\n=======\nfactor = 2.5\n>>>>>>> REPLACE"
    assert extract(completion(edit), two, main=main) == two.initial.replace("1.25", "2.5")
    assert extract(completion("```python new.py\n```"), two, main=main).kind is FailureKind.NO_PROGRAM
    with pytest.raises(ValueError, match="pass main="):
        extract(completion(answer), two)


def test_mutation_changes_what_may_change(two):
    parents = (ParentView(key=INITIAL, source=two.initial, score=-1.125, metrics={}),)
    made = [Mutation(two).propose(parents, seed)[0] for seed in range(20)]
    assert len(set(made)) > 10
    for text in made:
        assert extract(completion(text, "mutation"), two, main=two.initial) == text
        assert {path: t for path, t in unbundled(text).items() if path != "geometry.py"} == dict(
            two.frame.frozen
        )
    evil = two.initial + "=== more.py ===\n"
    assert extract(completion(evil, "mutation"), two, main=two.initial).kind is FailureKind.BLOCKS


async def test_it_is_scored_and_what_is_no_candidate_is_not(two):
    evaluator = Evaluator(two, backend=make_backend("process"), slots=1)
    await evaluator.start()
    try:

        async def scored(source):
            now = datetime.now(UTC)
            return await evaluator.rescore(Candidate(key=INITIAL, source=source, parents=(), created_at=now))

        assert (await scored(two.initial)).score.value == -1.125
        crashed = await scored(two.initial.replace("return factor * x", "return factor / 0"))
        assert "(geometry.py, line 7)" in crashed.failure.message
        broken = await scored(two.with_entry("def other(): pass\n"))
        assert broken.failure.kind is FailureKind.MISSING_FUNCTION
        for each in list(twisted(two))[:1]:
            assert (await scored(each.source)).state is EvaluationState.FAILED
    finally:
        await evaluator.close()


def test_a_solution_is_a_folder(two, tmp_path):
    write_folder(tmp_path / "good", FILES)
    assert read_program(tmp_path / "good", two) == two.initial
    (tmp_path / "bundle.txt").write_text(two.initial)
    assert read_program(tmp_path / "bundle.txt", two) == two.initial
    write_folder(tmp_path / "more", {**FILES, "more.py": ""})
    for name, said in (("good/main.py", "one file"), ("more", "no more.py"), ("none", "No such file")):
        with pytest.raises(UsageError, match=said):
            read_program(tmp_path / name, two)
