"""The scale that scores are normalised on, at the ends of what floats can say."""

import pytest

from discovery.selection.scale import Scale


@pytest.mark.parametrize(
    ("qualities", "normalised"),
    [
        ((0.0, 5e-324), (0.0, 1.0)),
        ((-1e308, 1e308), (0.0, 1.0)),
        ((7.0, 7.0), (1.0, 1.0)),
        ((0.0, 1.0), (0.0, 1.0)),
    ],
)
def test_neither_the_smallest_nor_the_largest_differences_are_lost_or_overflow(qualities, normalised):
    scale = Scale()
    for quality in qualities:
        scale.add(quality)
    assert tuple(scale.normalised(quality) for quality in qualities) == normalised
