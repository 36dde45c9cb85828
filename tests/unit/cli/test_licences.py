"""``discovery licences``."""

import json

import pytest

from discovery.cli import main
from discovery.licences import BUILT_IN, MADE_HERE


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("DISCOVERY_LICENCES", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_table_it_tells_what_is_known_and_how_to_make_one(home, capsys):
    assert main(["licences"]) == 0
    said = capsys.readouterr().out
    assert f"{home}/.discovery/licences.toml is not there" in said
    assert "discovery licences init" in said
    assert "openai/gpt-oss-20b" in said
    assert not (home / ".discovery").exists()


def test_a_table_is_made_edited_and_shown(home, capsys):
    assert main(["licences", "init"]) == 0
    path = home / ".discovery" / "licences.toml"
    assert str(path) in capsys.readouterr().out
    assert main(["licences", "init"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["licences", "tiny"]) == 1
    assert "model 'tiny' fits none of these: nothing that it wrote is exported" in capsys.readouterr().out
    path.write_text('"[red]tiny" = false\n"tiny" = true\n')
    assert main(["licences", "tiny"]) == 0
    said = capsys.readouterr().out
    assert "model 'tiny' may be trained on\n" in said
    assert "[red]tiny" in said
    assert main(["licences", "gpt-4o"]) == 1
    assert "model 'gpt-4o' may not be trained on: OpenAI, terms of use" in capsys.readouterr().out


def test_a_folder_of_weights_says_where_it_is_from(home, capsys):
    (home / "tiny").mkdir()
    (home / "tiny" / "lineage.json").write_text(json.dumps({"base": "nothing", "method": MADE_HERE}))
    assert main(["licences", "./tiny"]) == 0
    assert "may be trained on: this machine, your own" in capsys.readouterr().out
    (home / "tiny" / "lineage.json").unlink()
    assert main(["licences", "./tiny"]) == 1


def test_another_table_as_json(home, capsys):
    path = home / "mine.toml"
    path.write_text('["m*"]\ntrainable = true\nlicence = "MIT"\n')
    assert main(["licences", "m1", "--licences", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["model"], told["licence"]["licence"]) == (str(path), "m1", "MIT")
    assert [each["model"] for each in told["entries"]] == ["m*"]
    assert len(told["built_in"]) == len(BUILT_IN)
    assert main(["licences", "x", "--licences", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["licence"] is None
    assert main(["licences", "--licences", "gone.toml"]) == 2
