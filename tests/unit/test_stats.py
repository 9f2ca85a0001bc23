"""Sums of what was moved, over whatever is not said."""

from mpignn.transport.stats import Stats


def counted() -> Stats:
    stats = Stats()
    for hop, owner, rows in ((0, 1, 3), (0, 2, 4), (1, 2, 5)):
        stats.count("structure", hop, "remote", rows, 16)
        stats.count_calls("structure", hop, "remote", owner, 2)
    stats.count("feature", None, "node", 7, 400)
    stats.count("feature", None, "self", 0, 400)
    return stats


def test_what_is_not_said_is_summed_over():
    stats = counted()
    assert (stats.calls(), stats.calls("structure"), stats.calls("feature")) == (6, 6, 0)
    assert [stats.calls("structure", hop) for hop in (0, 1, 2)] == [4, 2, 0]
    assert [stats.calls(owner=owner) for owner in (0, 1, 2)] == [0, 2, 4]
    assert (stats.rows(), stats.rows(target="remote"), stats.rows("feature", None)) == (19, 12, 7)
    assert stats.bytes("structure", 0) == 7 * 16 and stats.bytes(target="node") == 2800


def test_people_are_told_a_line_for_each_kind_hop_and_target():
    *lines, last = str(counted()).splitlines()
    assert [line.split() for line in lines] == [
        ["feature", "node", "0", "calls", "7", "rows", "0.0", "MB"],
        ["structure", "hop", "0", "remote", "4", "calls", "7", "rows", "0.0", "MB"],
        ["structure", "hop", "1", "remote", "2", "calls", "5", "rows", "0.0", "MB"]]
    assert last == "waited 0.000 s"
