"""26 circles on rings around the middle: a packing to start from, far from a good one.

Seeds say where circles start and how large they want to be; a few rounds push overlapping ones
apart; then every circle grows as far as its neighbours and the walls let it.
"""

from math import hypot

# EVOLVE-BLOCK-START
SCALE = 0.06
ROUNDS = 16
PUSH = 0.5
# x, y, wanted radius in units of SCALE
SEEDS = [
    (0.5, 0.5, 1.0),
    (0.68, 0.5, 1.0),
    (0.627, 0.627, 1.0),
    (0.5, 0.68, 1.0),
    (0.373, 0.627, 1.0),
    (0.32, 0.5, 1.0),
    (0.373, 0.373, 1.0),
    (0.5, 0.32, 1.0),
    (0.627, 0.373, 1.0),
    (0.86, 0.5, 1.0),
    (0.836, 0.63, 1.0),
    (0.766, 0.743, 1.0),
    (0.66, 0.822, 1.0),
    (0.533, 0.858, 1.0),
    (0.401, 0.846, 1.0),
    (0.283, 0.787, 1.0),
    (0.194, 0.69, 1.0),
    (0.146, 0.566, 1.0),
    (0.146, 0.434, 1.0),
    (0.194, 0.31, 1.0),
    (0.283, 0.213, 1.0),
    (0.401, 0.154, 1.0),
    (0.533, 0.142, 1.0),
    (0.66, 0.178, 1.0),
    (0.766, 0.257, 1.0),
    (0.836, 0.37, 1.0),
]
# EVOLVE-BLOCK-END


# EVOLVE-BLOCK-START
def settle(circles, rounds, push):
    """Push overlapping circles apart, each keeping its wanted radius."""
    circles = [list(circle) for circle in circles]
    for _ in range(rounds):
        for i, a in enumerate(circles):
            for b in circles[:i]:
                dx = a[0] - b[0]
                dy = a[1] - b[1]
                reach = a[2] + b[2]
                if abs(dx) < reach and abs(dy) < reach:
                    distance = hypot(dx, dy)
                    if distance < reach:
                        part = push * (reach - distance) / (distance + 1e-9)
                        a[0] += part * dx
                        a[1] += part * dy
                        b[0] -= part * dx
                        b[1] -= part * dy
            a[0] = min(max(a[0], a[2]), 1 - a[2])
            a[1] = min(max(a[1], a[2]), 1 - a[2])
    return [(x, y) for x, y, _ in circles]


def grow(centres):
    """Radii for given centres: equal shares first, then one after the other as far as it goes."""
    walls = [max(0.0, min(x, y, 1 - x, 1 - y)) for x, y in centres]
    gaps = [[hypot(x - u, y - v) for u, v in centres] for x, y in centres]
    for i, row in enumerate(gaps):
        row[i] = 2.0
    radii = [min(walls[i], min(row) / 2) for i, row in enumerate(gaps)]
    for i, row in enumerate(gaps):
        radii[i] = max(0.0, min(walls[i], min([gap - radii[j] for j, gap in enumerate(row)])))
    return radii


def pack():
    wanted = [(x, y, size * SCALE) for x, y, size in SEEDS]
    centres = settle(wanted, int(ROUNDS), PUSH)
    radii = grow(centres)
    return [[x, y, radii[i]] for i, (x, y) in enumerate(centres)]


# EVOLVE-BLOCK-END
