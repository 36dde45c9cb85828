from discovery.generation.arrangement import arrangement
from discovery.generation.sketch import sketch


def found(*texts):
    """The values of each point and row."""
    sketches = [sketch(text, "python") for text in texts]
    values = [literal.value for each in sketches for literal in each.literals]
    result = arrangement(tuple(each.skeleton for each in sketches))
    points = [[[values[place] for place in point] for point in points] for points in result.points]
    return points, [[values[place] for place in row] for row in result.rows]


def test_points_share_their_innermost_brackets():
    text = "A = [\n    (1, 2),  # (9\n    (3, 4),\n    (-5, 6.5),\n]\nB = f(7, 8)\n"
    assert found(text) == ([[[1, 2], [3, 4], [-5, 6.5]]], [])


def test_rows_are_lists_of_single_numbers():
    assert found("A = [1, 2, 3, 4, 5]\nx = 3\n", "B = (\n    6, 7, ')', 8, 9,\n    10,\n)\n") == (
        [],
        [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]],
    )


def test_points_of_two_lists_or_sizes_are_kept_apart():
    text = "A = [[1, 2], [3, 4], [5, 6], [0, 0, 0]]\nB = [[1, 2], [3, 4]]\nC = [(7, 8), (9, 1), (2, 3)]\n"
    assert found(text) == ([[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 1], [2, 3]]], [])


def test_rows_of_a_table_are_rows_and_points():
    points, rows = found("A = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 0], [1, 1, 1, 1, 1]]\n")
    assert points == [rows]
    assert len(rows) == 3


def test_unbalanced_and_empty_texts():
    assert found(")] 1 (2, [3", "") == ([], [])
