"""How the kernels that `mpignn warmup` compiles are shared out."""

from mpignn.comm.group import LocalGroup
from mpignn.job import warm_up
from mpignn.kernels import compiled


def test_no_two_groups_compile_the_same_kernel():
    """Of those that are functions of a module, as each group's are but those that sample."""
    modules = [call.func.__module__ for calls in warm_up.groups().values() for call in {
        getattr(call, "func", call).__module__: call for call in calls if hasattr(call, "func")}.values()]
    assert len(modules) == len(set(modules)) and len(warm_up.groups()) > 5


def test_ranks_share_what_is_missing(monkeypatch):
    kept: set[str] = set()
    monkeypatch.setattr(warm_up, "groups", lambda: {name: [lambda name=name: kept.add(name)] for name in "abcde"})
    monkeypatch.setattr(compiled, "load", lambda call: False)

    class Group(LocalGroup):
        rank, size = 2, 3

        def allgather(self, value):
            return [value, ["a", "b", "d"], []]

    assert warm_up.warm_up(Group(), 1) == 5 and kept == {"c", "e"}
    assert [warm_up._whose(place, 3) for place in range(5)] == [0, 1, 2, 1, 2]
