"""Selectors: which candidates of a chain's history the next prompt shows.

The port is in ``base``; each selector is a module of its own. ``make_selector`` finds one by name, users'
own included.
"""

from discovery.selection.base import AdvisedSelector, Selection, Selector
from discovery.selection.registry import described_selectors, make_selector, selector_names

__all__ = [
    "AdvisedSelector",
    "Selection",
    "Selector",
    "described_selectors",
    "make_selector",
    "selector_names",
]
