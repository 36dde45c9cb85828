"""``discovery prices``."""

import json

import pytest

from discovery.cli import main
from discovery.cli.report import money


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("DISCOVERY_PRICES", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_table_it_says_how_to_make_one(home, capsys):
    assert main(["prices"]) == 0
    said = capsys.readouterr().out
    assert f"{home}/.discovery/prices.toml is not there" in said
    assert "discovery prices init" in said
    assert not (home / ".discovery").exists()


def test_a_table_is_made_edited_and_shown(home, capsys):
    assert main(["prices", "init"]) == 0
    path = home / ".discovery" / "prices.toml"
    assert str(path) in capsys.readouterr().out
    assert main(["prices"]) == 0
    assert f"{path} holds none; edit it" in capsys.readouterr().out
    assert main(["prices", "init"]) == 2
    assert "is there already" in capsys.readouterr().err
    path.write_text(
        'currency = "EUR"\n["[red]*"]\nhour = 1\n["m*"]\nprompt = 1\ncompletion = 2.5\nsource = "a page"\n'
    )
    assert main(["prices", "m1"]) == 0
    said = capsys.readouterr().out
    assert "model 'm1' gets 'm*'" in said
    assert "[red]*" in said
    (row,) = [line for line in said.splitlines() if line.startswith(">")]
    assert row.split() == [">", "m*", "1", "2.5", "EUR", "a", "page"]
    assert main(["prices", "other"]) == 1
    assert "gets none of these" in capsys.readouterr().out


def test_another_table_as_json(home, capsys):
    path = home / "mine.toml"
    path.write_text('["m*"]\nprompt = 1\ncompletion = 2\n')
    assert main(["prices", "m1", "--prices", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["model"], told["entry"]) == (str(path), "m1", "m*")
    assert told["entries"][0]["cached"] is None
    assert main(["prices", "x", "--prices", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["entry"] is None
    assert main(["prices", "--prices", "gone.toml"]) == 2


@pytest.mark.parametrize(
    ("amount", "shown"), [(0.0, "0 USD"), (0.000123456, "0.000123 USD"), (1234.567, "1,234.57 USD")]
)
def test_money_for_people(amount, shown):
    assert money(amount, "USD") == shown
