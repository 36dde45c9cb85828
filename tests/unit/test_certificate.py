"""A certificate is checked by a stranger with Python alone, and no part of it can be changed alone."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from discovery.bundled import bundled_problems
from discovery.certificate import check_certificate, script_of, write_certificate
from discovery.cli import main
from discovery.direct import reference_solutions, score_directly
from discovery.errors import Invalid, ProblemError, UsageError
from discovery.exact.certified import CERTIFIED_FILES, CertificateError
from discovery.plugins import load_problem
from discovery.referee import has_verifier
from discovery.testing.problems import initial_solution

NAMES = [name for name in bundled_problems() if has_verifier(load_problem(name))]
SOLUTION = [0, 9, 0, 9, 0, 9, 0, 8]


STRANGER = """
import __future__, dataclasses, decimal, fractions, hashlib, json, math, os, re, runpy, sys
for line in sys.stdin:
    path = json.loads(line)
    theirs, ours = os.pipe()
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(ours, 1)
        os.dup2(ours, 2)
        os.close(ours)
        sys.argv = [path]
        runpy.run_path(path, run_name="__main__")
        sys.exit()
    os.close(ours)
    with open(theirs, errors="replace") as said:
        text = said.read()
    print(json.dumps([os.waitstatus_to_exitcode(os.wait()[1]), text]), flush=True)
"""
"""Python alone, which has imported what scripts do and is forked for each: a start costs more than most checks."""


@pytest.fixture(scope="module")
def python_alone():
    command = [sys.executable, "-I", "-S", "-c", STRANGER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def stranger(python_alone):
    """Check a certificate with nothing installed."""

    def check(folder, *flags, where="/"):
        script = str(Path(folder).resolve() / "verify.py")
        if flags or where != "/":
            command = [sys.executable, *(flags or ("-I", "-S")), script]
            done = subprocess.run(command, capture_output=True, text=True, cwd=where, timeout=60)
            return done.returncode, done.stdout + done.stderr
        python_alone.stdin.write(json.dumps(script) + "\n")
        python_alone.stdin.flush()
        code, said = json.loads(python_alone.stdout.readline())
        return code, said

    return check


def a_solution(problem):
    """A solution of a problem that is decided on soon: its initial one, where that is a program in Python."""
    if problem.settings.language == "python":
        return score_directly(problem, initial_solution(problem)).artifact
    _, smallest, _ = min(reference_solutions(problem), key=lambda reference: len(str(reference[1])))
    return score_directly(problem, smallest).artifact


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "c"
    write_certificate(folder, load_problem("zigzag-8"), SOLUTION, {"file": "mine.json"})
    return folder


@pytest.fixture
def certificate(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "c"))


@pytest.mark.parametrize("name", NAMES)
def test_a_stranger_confirms_a_solution_of_every_problem(name, tmp_path, monkeypatch, stranger):
    monkeypatch.setattr("discovery.certificate._try", lambda folder: None)  # here it is tried once
    problem = load_problem(name)
    made = write_certificate(tmp_path / "c", problem, a_solution(problem), {})
    code, said = stranger(tmp_path / "c")
    assert (code, made.exact.decimal() in said) == (0, True), said


def test_a_certificate_holds_by_itself_from_anywhere(certificate, tmp_path, stranger):
    assert sorted(path.name for path in certificate.iterdir()) == sorted(
        [*CERTIFIED_FILES, "certificate.json"]
    )
    told = json.loads((certificate / "certificate.json").read_text())
    assert told["exact"]["decimal"] == "0.97001763668430335097"
    assert told["exact"]["low"] < told["exact"]["high"]
    assert told["provenance"]["file"] == "mine.json"
    assert told["problem"]["parameters"] == {"count": 8}
    for flags, where in ((("-I", "-S"), "/"), (("-E",), certificate), (("-B",), tmp_path)):
        code, said = stranger(certificate, *flags, where=where)
        assert code == 0, said
        assert said.count("ok  ") == 4
        assert "0.97001763668430335097" in said
    readme = (certificate / "README.md").read_text()
    assert "0.97001763668430335097" in readme
    assert "`count` = 8" in readme
    assert len(check_certificate(certificate)) == 5


def test_the_script_is_one_file_of_the_standard_library():
    text = script_of(load_problem("zigzag-8"))
    assert "import discovery" not in text
    assert "from discovery" not in text


def say(**changes):
    def change(folder):
        file = folder / "certificate.json"
        told = json.loads(file.read_text())
        for path, value in changes.items():
            inner = told
            *parents, last = path.split("__")
            for name in parents:
                inner = inner[name]
            inner[last] = value
        file.write_text(json.dumps(told))

    return change


def write(name, text):
    """Change a file, and tell its new hash."""

    def change(folder):
        (folder / name).write_text(text)
        told = json.loads((folder / "certificate.json").read_text())
        told["files"][name] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "certificate.json").write_text(json.dumps(told))

    return change


FORGED = {
    "another solution": (
        lambda folder: (folder / "solution.json").write_text("[0]"),
        "solution.json was changed",
    ),
    "another solution, hash and all": (write("solution.json", "[0, 9, 0, 9, 0, 9, 0, 7]"), "claims"),
    "a better claim": (say(exact__decimal="0.98000000000000000000"), "claims"),
    "wider bounds": (say(exact__low="0.9"), "claims"),
    "no claim": (say(exact=None), "claims None"),
    "another problem": (say(problem__name="zigzag-12"), "and this checks"),
    "another size": (say(problem__parameters={"count": 7}), "and this checks"),
    "a size that is only equal": (say(problem__parameters={"count": 8.0}), "and this checks"),
    "another direction": (say(problem__direction="minimize"), "and this checks"),
    "another statement": (
        lambda folder: (folder / "statement.md").write_text("Easy."),
        "statement.md was changed",
    ),
    "another script": (
        lambda folder: (folder / "verify.py").write_text("# x\n"),
        "verify.py was changed",
    ),
    "one hash less": (say(files={}), "does not tell the SHA-256"),
    "an invalid solution": (
        write("solution.json", "[0, 9, 0, 9, 0, 9, 0, 10]"),
        "breaks the rules: digit 7 is 10",
    ),
    "not a number": (write("solution.json", "[NaN]"), "NaN is no number"),
    "a huge number": (write("solution.json", "[1e999]"), "too large"),
    "a name twice": (write("solution.json", '{"a": 1, "a": 2}'), "a name twice"),
    "deep": (write("solution.json", "[" * 100_000), "not strict JSON"),
    "no solution": (lambda folder: (folder / "solution.json").unlink(), "cannot be read"),
    "no claims": (lambda folder: (folder / "certificate.json").write_text("[]"), "its format"),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_was_changed_is_found(certificate, what, stranger):
    change, words = FORGED[what]
    change(certificate)
    if what != "another script":
        code, said = stranger(certificate)
        assert (code, words in said) == (1, True), said
        assert "Traceback" not in said
    if what not in ("another problem", "no claims"):
        with pytest.raises(CertificateError, match=words):
            check_certificate(certificate)


def test_a_module_beside_the_script_is_not_taken_for_pythons_own(certificate, stranger):
    for name in ("__future__", "sys", "json", "hashlib", "fractions", "decimal", "dataclasses", "discovery"):
        (certificate / f"{name}.py").write_text("print('forged')\nraise SystemExit(0)\n")
    for flags in (("-I",), ("-B",)):
        code, said = stranger(certificate, *flags, where=certificate)
        assert (code, "forged" in said) == (0, False), said


def test_a_script_that_confirms_anything_is_found_by_who_has_the_problem(certificate, capsys, stranger):
    """Whoever forges all of it convinces its own script, and nobody else."""
    forged = "print('ok     everything')\n"
    write("verify.py", forged)(certificate)
    assert stranger(certificate)[0] == 0
    with pytest.raises(CertificateError, match=r"verify\.py is not the one that is made of this problem"):
        check_certificate(certificate)
    say(exact__decimal="0.99000000000000000000")(certificate)
    with pytest.raises(CertificateError, match="claims"):
        check_certificate(certificate)
    assert main(["certify", str(certificate), "--check"]) == 1
    assert "claims" in capsys.readouterr().out


def test_a_name_that_is_a_path_is_not_executed(certificate, monkeypatch, tmp_path):
    """A stranger's certificate may name its own folder, and bring a problem."""
    ran = tmp_path / "ran"
    (certificate / "problem.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    for name in ("c", "./c", str(certificate), str(certificate / "problem.py"), ".", "", "c:c"):
        say(problem__name=name)(certificate)
        with pytest.raises(ProblemError, match="no bundled or installed problem"):
            check_certificate(Path("c"))
    assert not ran.exists()


def test_another_statement_is_found_by_who_has_the_problem(certificate, stranger):
    write("statement.md", "Return 9 digits.")(certificate)
    assert stranger(certificate)[0] == 0
    with pytest.raises(CertificateError, match="tells another problem"):
        check_certificate(certificate)


def test_another_statement_is_not_excused_by_a_version_that_nobody_knows(certificate, monkeypatch, stranger):
    """Script and hashes fit the invented version; only the statement gives it away."""
    problem = load_problem("zigzag-8")
    write("statement.md", "Return 8 digits; the score is twice as high.")(certificate)
    write("verify.py", script_of(problem, "0" * 64))(certificate)
    say(problem__version="0" * 64)(certificate)
    assert stranger(certificate)[0] == 0
    with pytest.raises(CertificateError, match="tells another problem"):
        check_certificate(certificate)


def test_another_readme_is_found_by_who_has_the_problem(certificate, stranger):
    text = (certificate / "README.md").read_text()
    write("README.md", text.replace("0.9700", "0.9900"))(certificate)
    assert stranger(certificate)[0] == 0
    with pytest.raises(CertificateError, match=r"README\.md is not the one"):
        check_certificate(certificate)


def test_a_reason_does_not_talk_to_the_terminal(certificate, stranger):
    say(problem__name="\x1b[2Jzigzag-8")(certificate)
    code, said = stranger(certificate)
    assert (code, "\x1b" in said) == (1, False)


def test_another_version_of_the_problem_is_told(certificate):
    say(problem__version="0" * 64)(certificate)
    with pytest.raises(CertificateError, match="another version"):
        check_certificate(certificate)  # the script says which version it is of


def test_what_cannot_be_certified_is_refused_and_nothing_is_written(tmp_path):
    zigzag = load_problem("zigzag-8")
    with pytest.raises(Invalid, match="expected 0 to 9"):
        write_certificate(tmp_path / "c", zigzag, [0, 9, 0, 9, 0, 9, 0, 10], {})
    without = dataclasses.replace(zigzag, path=tmp_path / "problem.py")
    with pytest.raises(ProblemError, match=r"has no verify\.py"):
        write_certificate(tmp_path / "c", without, SOLUTION, {})
    assert not (tmp_path / "c").exists()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        write_certificate(tmp_path / "d", zigzag, SOLUTION, {})


def test_the_command_certifies_a_file_and_checks_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.json").write_text(json.dumps(SOLUTION))
    Path("bad.json").write_text("[1]")
    assert main(["certify", "zigzag-8", "s.json"]) == 0
    said = capsys.readouterr().out
    assert "exactly 0.97001763668430335097" in said
    assert f"to check it: python3 {tmp_path}/certificate-zigzag-8/verify.py\n" in said  # from wherever one is
    assert main(["certify", "certificate-zigzag-8", "--check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["holds"], len(told["checked"])) == (True, 5)
    assert main(["certify", "zigzag-8", "bad.json", "--out", "b"]) == 1
    assert "expected 8" in capsys.readouterr().out
    for arguments in (
        ["certify", "zigzag-8", "s.json"],  # the folder is there now
        ["certify", "zigzag-8", "none.json", "--out", "n"],
        ["certify", "no-such-run", "--out", "n"],
        ["certify", "bin-packing-online", "s.json", "--out", "n"],
        ["certify", ".", "--check"],
        ["certify", "certificate-zigzag-8", "--check", "--out", "n"],
        ["certify", "zigzag-8", "s.json", "--problem", "zigzag-8"],
    ):
        assert main(arguments) == 2, arguments
    assert not Path("n").exists()
    assert "'bin-packing-online' has no exact scorer" in capsys.readouterr().err
    assert main(["certify", "nowhere", "--check"]) == 2
    assert "nowhere is no certificate: it holds no certificate.json" in capsys.readouterr().err
    claim = Path("certificate-zigzag-8", "certificate.json")
    claim.write_text(claim.read_text().replace('"decimal": "0.97', '"decimal": "0.98'))
    assert main(["certify", "certificate-zigzag-8", "--check"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"score is 0\.970\d+ \(.*\), and certificate.json claims 0\.980\d+ \(0\.97\d+ to", said)
