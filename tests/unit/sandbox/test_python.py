"""Only named packages and what they require are shown."""

import sys
from pathlib import Path

import pytest

import discovery
from discovery.errors import MissingComponent
from discovery.sandbox.python import interpreter, package_files, zygote_files


def test_nothing_is_shown_unasked():
    assert package_files(()) == ()
    assert package_files(("math", "json")) == ()


def test_package_with_its_libraries():
    names = dict(package_files(("numpy",)))
    assert "numpy" in names
    assert all(path.name == name and path.exists() for name, path in names.items())
    assert not any(name.endswith((".pth", ".dist-info")) or name == "discovery" for name in names)
    assert not any("pytest" in name or "sqlalchemy" in name for name in names)


def test_requirements_are_followed():
    assert {"scipy", "numpy"} <= set(dict(package_files(("scipy.optimize",))))


def test_own_code_is_never_shown():
    root = Path(discovery.__file__).parent
    assert not any(
        root == path or root.is_relative_to(path) or path.is_relative_to(root)
        for _, path in package_files(("discovery",))
    )


def test_missing_package_names_the_fix():
    with pytest.raises(MissingComponent, match="pip install nonesuch_package"):
        package_files(("nonesuch_package.sub",))


def test_interpreter_hides_installed_packages():
    found = interpreter()
    assert found.executable.is_file()
    assert not found.executable.is_symlink()
    stdlib = Path(sys.modules["json"].__file__).resolve().parent.parent
    assert any(stdlib.is_relative_to(p) for p in (*found.readable, Path("/usr")))
    for path in (stdlib / "site-packages", stdlib / "dist-packages"):
        assert not path.is_dir() or path in found.hidden


def test_zygote_files_exist():
    first, *rest = zygote_files()
    assert first.name == "zygote.py"
    assert {path.name for path in rest} >= {"confine.py", "program.py", "data.py"}
    assert all(path.is_file() for path in rest)
