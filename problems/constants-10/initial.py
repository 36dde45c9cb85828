# EVOLVE-BLOCK-START
def solve():
    return [
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
    ]


# EVOLVE-BLOCK-END
