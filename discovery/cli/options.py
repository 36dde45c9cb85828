"""The groups in which ``discovery run`` and ``resume`` list their options, in the order of the help."""

from __future__ import annotations

from cyclopts import Group, Parameter

SEARCH = Parameter(group=Group.create_ordered("The search"), negative=())
MODEL = Parameter(group=Group.create_ordered("The model"), negative=())
SERVERS = Parameter(group=Group.create_ordered("Its servers"), negative=())
BUDGET = Parameter(group=Group.create_ordered("The budget"), negative=())
MACHINE = Parameter(group=Group.create_ordered("This machine"), negative=())
RECORD = Parameter(group=Group.create_ordered("Files and output"), negative=())
