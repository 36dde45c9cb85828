"""Whose words a loop learns from."""

import json

import pytest

from discovery.errors import LicenceError
from discovery.licences import OWN, LicenceTable
from discovery.loop.assembly import of_its_revisions
from discovery.records import ModelIdentity


def spoken(plan, model, revision, adapter=None):
    return ModelIdentity(generator="openai", model=model, revision=str(revision), adapter=adapter)


def test_revisions_are_what_the_first_weights_are_although_their_copies_are_gone(make_loop, model):
    loop = make_loop()
    plan = loop.folder.plan()
    with pytest.raises(LicenceError, match="nothing says whether what"):
        of_its_revisions(loop.folder, plan, LicenceTable())
    (model / "lineage.json").write_text(json.dumps({"base": "nothing", "method": "new-tiny"}))
    table = of_its_revisions(loop.folder, plan, LicenceTable())
    gone = loop.folder.server / "weights" / "1-0a1b2c3d"
    assert table.of(spoken(plan, plan.name, gone)) == OWN
    assert table.of(spoken(plan, gone.name, gone, adapter=gone.name)) == OWN
    assert table.of(spoken(plan, "another", "/elsewhere")) is None


def test_the_user_s_word_counts_for_revisions_too(make_loop):
    loop = make_loop()
    plan = loop.folder.plan()
    said = LicenceTable().also([plan.model], OWN)
    gone = loop.folder.server / "weights" / "1-0a1b2c3d"
    assert said.of(spoken(plan, plan.name, gone)) is None
    assert of_its_revisions(loop.folder, plan, said).of(spoken(plan, plan.name, gone)) == OWN
