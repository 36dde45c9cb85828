"""32 circles on rings around the middle: a packing to start from, far from a good one.

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
    (0.63, 0.5, 1.0),
    (0.565, 0.613, 1.0),
    (0.435, 0.613, 1.0),
    (0.37, 0.5, 1.0),
    (0.435, 0.387, 1.0),
    (0.565, 0.387, 1.0),
    (0.76, 0.5, 1.0),
    (0.719, 0.641, 1.0),
    (0.608, 0.737, 1.0),
    (0.463, 0.757, 1.0),
    (0.33, 0.696, 1.0),
    (0.251, 0.573, 1.0),
    (0.251, 0.427, 1.0),
    (0.33, 0.304, 1.0),
    (0.463, 0.243, 1.0),
    (0.608, 0.263, 1.0),
    (0.719, 0.359, 1.0),
    (0.88, 0.5, 1.0),
    (0.842, 0.665, 1.0),
    (0.737, 0.797, 1.0),
    (0.585, 0.87, 1.0),
    (0.415, 0.87, 1.0),
    (0.263, 0.797, 1.0),
    (0.158, 0.665, 1.0),
    (0.12, 0.5, 1.0),
    (0.158, 0.335, 1.0),
    (0.263, 0.203, 1.0),
    (0.415, 0.13, 1.0),
    (0.585, 0.13, 1.0),
    (0.737, 0.203, 1.0),
    (0.842, 0.335, 1.0),
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
