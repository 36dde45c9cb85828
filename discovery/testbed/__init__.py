"""A test bed for selectors without a model: landscapes that are known, a simulated generator, a loop without processes.

Thousands of steps take seconds, so that selectors are compared over many seeds, reproducibly. What holds here holds
for generators that behave as :mod:`discovery.testbed.generator` says, which no model quite does: it shows what a
selector can do, and where it must fail, not what it will do with a given model.
"""

from discovery.testbed.base import Landscape
from discovery.testbed.generator import Ability, SimulatedGenerator
from discovery.testbed.landscapes import landscape_names, make_landscape
from discovery.testbed.loop import Game, Shape, play

__all__ = [
    "Ability",
    "Game",
    "Landscape",
    "Shape",
    "SimulatedGenerator",
    "landscape_names",
    "make_landscape",
    "play",
]
