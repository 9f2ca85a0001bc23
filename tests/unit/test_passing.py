import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mpignn
from blocks import HETERO, LOOP, ends, hetero_block, make_block, rows
from mpignn import function as fn
from mpignn.errors import ConfigError, DataError, UnknownName

BINARY = [f"{lhs}_{op}_{rhs}" for lhs in "uve" for op in fn.OPERATORS for rhs in "uve" if lhs != rhs]
# Shapes of the rows of two operands: equal, of one column, of more axes, scalars.
SHAPES = [((3,), (3,)), ((2, 3), (2, 1)), ((2, 3), (1, 3)), ((2, 3), (3,)), ((3,), ()), ((), ()), ((2, 1), (2, 3))]


def filled(degrees=(3, 0, 1, 6), num_src=8, shapes=((3,), (3,), (3,))):
    """A block with a field ``h`` of rows of such shapes on sources, destinations and edges."""
    block = make_block(degrees, num_src)
    for seed, (frame, num, shape) in enumerate(zip(
            (block.srcdata, block.dstdata, block.edata), (num_src, len(degrees), block.num_edges()), shapes,
            strict=True)):
        frame["h"] = (rows(num, shape, seed=seed).abs() + 0.5).requires_grad_()
    return block


def along(block, target):
    """A field brought to the edges by definition."""
    src, dst = map(torch.from_numpy, ends(block.csc[LOOP]))
    return {"u": block.srcdata["h"][src], "v": block.dstdata["h"][dst], "e": block.edata["h"]}[target]


def combined(operator, left, right):
    """One edge at a time, so that broadcasting is NumPy's own."""
    made = []
    for a, b in zip(left.detach().numpy(), right.detach().numpy(), strict=True):
        made.append({"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
                     "dot": lambda a, b: (np.atleast_1d(a) * b).sum(-1, keepdims=True)}[operator](a, b))
    return torch.from_numpy(np.stack(made))


def reduced(how, block, messages):
    """The definition, in torch operators that differentiate themselves."""
    csc = block.csc[LOOP]
    reduce = {"sum": lambda m: m.sum(0), "mean": lambda m: m.mean(0), "max": lambda m: m.amax(0),
              "min": lambda m: m.amin(0)}[how]
    parts = [messages[a:b] for a, b in zip(csc.indptr, csc.indptr[1:], strict=False)]
    return torch.stack([reduce(m) if len(m) else messages.new_zeros(messages.shape[1:]) for m in parts])


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shapes", SHAPES)
def test_operators_broadcast_as_numpy_does(name, shapes):
    lhs, operator, rhs = name.split("_")
    by_target = {lhs: shapes[0], rhs: shapes[1]}
    block = filled(shapes=[by_target.get(t, (1,)) for t in "uve"])
    block.apply_edges(getattr(fn, name)("h", "h", "m"))
    torch.testing.assert_close(block.edata["m"].detach(), combined(operator, along(block, lhs), along(block, rhs)))


@pytest.mark.parametrize("how", fn.REDUCERS)
@pytest.mark.parametrize("name", ["copy_u", "copy_e", "u_mul_e", "e_mul_u", "u_add_v", "e_dot_v", "v_div_u"])
@pytest.mark.parametrize("shapes", [((4,), (4,), (4,)), ((2, 3), (2, 3), (2, 1)), ((2, 3), (2, 3), ()), ((), (), ())])
def test_messages_reduced_are_those_of_the_definition_with_their_gradients(how, name, shapes):
    block = filled(shapes=shapes)
    if name.startswith("copy"):
        made, message = along(block, name[-1]), getattr(fn, name)("h", "m")
    else:
        lhs, operator, rhs = name.split("_")
        block.apply_edges(getattr(fn, name)("h", "h", "m"))
        made, message = block.edata.pop("m"), getattr(fn, name)("h", "h", "m")
    block.update_all(message, getattr(fn, how)("m", "out"))
    expected = reduced(how, block, made)
    found = block.dstdata["out"]
    torch.testing.assert_close(found, expected)
    assert not found[1].any()       # a destination without in-edges
    inputs = [block.srcdata["h"], block.dstdata["h"], block.edata["h"]]
    weight = rows(*expected.shape[:1], tuple(expected.shape[1:]), seed=9)
    grads = [torch.autograd.grad((out * weight).sum(), inputs, allow_unused=True, materialize_grads=True)
             for out in (found, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("how", fn.REDUCERS)
@pytest.mark.parametrize("name", ["copy_u", "u_mul_e", "u_sub_v", "e_dot_u"])
def test_gradients_are_the_slopes(how, name):
    block = filled(shapes=((2, 3), (2, 3), (2, 1) if name == "u_mul_e" else (2, 3)))
    message = fn.copy_u("h", "m") if name == "copy_u" else getattr(fn, name)("h", "h", "m")

    def call(u, v, e):
        local = block.local_var()
        local.srcdata["h"], local.dstdata["h"], local.edata["h"] = u, v, e
        local.update_all(message, getattr(fn, how)("m", "out"))
        return local.dstdata["out"]
    assert torch.autograd.gradcheck(call, (block.srcdata["h"], block.dstdata["h"], block.edata["h"]))
    assert "out" not in block.dstdata


@given(st.lists(st.integers(0, 6), max_size=8), st.integers(1, 6), st.sampled_from(fn.REDUCERS),
       st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=40, deadline=None)
def test_fused_kernels_give_what_messages_one_by_one_give(degrees, num_src, how, dtype):
    block = make_block(degrees, num_src)
    block.srcdata["h"] = rows(num_src, (2, 3), dtype)
    block.edata["w"] = rows(block.num_edges(), (2, 1), dtype, seed=1)
    for message, user in ((fn.copy_u("h", "m"), lambda edges: {"m": edges.src["h"]}),
                          (fn.u_mul_e("h", "w", "m"), lambda edges: {"m": edges.src["h"] * edges.data["w"]})):
        block.update_all(message, getattr(fn, how)("m", "fused"))
        block.update_all(user, getattr(fn, how)("m", "plain"))
        torch.testing.assert_close(block.dstdata["fused"], block.dstdata["plain"])


def test_functions_of_the_user_see_what_dgl_s_see():
    block = filled()
    block.dstdata["id"] = torch.arange(4)
    block.apply_edges(lambda edges: {"d": edges.dst["id"], "s": (edges.src["h"] - edges.dst["h"]).sum(1)})
    src, dst = map(torch.from_numpy, ends(block.csc[LOOP]))
    assert torch.equal(block.edata["d"], dst)
    torch.testing.assert_close(block.edata["s"], (block.srcdata["h"][src] - block.dstdata["h"][dst]).sum(1))

    def reduce(nodes):
        assert nodes.mailbox["m"].shape[0] == nodes.batch_size() == len(nodes.data["h"])
        return {"out": nodes.mailbox["m"].sum(1) + nodes.data["h"], "last": nodes.mailbox["m"][:, -1]}
    block.update_all(fn.copy_u("h", "m"), reduce, lambda nodes: {"twice": 2 * nodes.data["out"]})
    expected = reduced("sum", block, block.srcdata["h"][src])
    expected[[0, 2, 3]] += block.dstdata["h"][[0, 2, 3]]
    torch.testing.assert_close(block.dstdata["out"], expected)
    torch.testing.assert_close(block.dstdata["twice"], 2 * expected)
    torch.testing.assert_close(block.dstdata["last"][3], block.srcdata["h"][src[-1]])
    (grad,) = torch.autograd.grad(block.dstdata["out"].sum(), block.dstdata["h"])
    assert grad[:, 0].tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("cross", ["sum", "mean", "max", "min", "stack"])
def test_several_edge_types_are_reduced_each_and_then_across(cross):
    block = hetero_block()
    for t, num in (("user", 7), ("item", 5)):
        block.srcnodes[t].data["h"] = rows(num, 3)
    likes, liked, knows = HETERO.etypes
    pair = fn.copy_u("h", "m"), fn.sum("m", "out")
    block.multi_update_all({"liked": pair, "knows": (fn.copy_u("h", "m"), fn.mean("m", "out")), likes: pair}, cross,
                           lambda nodes: {"neg": -nodes.data["out"]})
    parts = []
    for etype, message in ((liked, fn.sum), (knows, fn.mean)):
        block.update_all(fn.copy_u("h", "m"), message("m", "one"), etype=etype)
        parts.append(block.dstnodes["user"].data["one"])
    both = torch.stack(parts)
    expected = {"sum": both.sum(0), "mean": both.mean(0), "max": both.amax(0), "min": both.amin(0),
                "stack": both.transpose(0, 1)}[cross]
    torch.testing.assert_close(block.dstnodes["user"].data["out"], expected)
    torch.testing.assert_close(block.dstnodes["user"].data["neg"], -expected)
    other, part = block.dstnodes["item"].data["out"], block["likes"]
    part.update_all(*pair)
    torch.testing.assert_close(other if cross != "stack" else other[:, 0], part.dstnodes["item"].data["out"])
    assert part.edge_index.shape == (2, block.num_edges("likes"))


def test_what_is_asked_for_and_is_not_there_is_named():
    block = filled()
    for call, error, text in [
            (lambda: block.update_all(fn.copy_u("x", "m"), fn.sum("m", "o")), UnknownName, "'x'; there are: h"),
            (lambda: block.update_all(fn.copy_u("h", "m"), fn.sum("n", "o")), UnknownName, "reads message 'n'"),
            (lambda: block.apply_edges(lambda edges: {"m": torch.ones(3)}), DataError, "10 edges"),
            (lambda: block.multi_update_all({}, "prod"), ConfigError, "sum, mean, max, min, stack"),
            (lambda: hetero_block().update_all(fn.copy_u("h", "m"), fn.sum("m", "o")), UnknownName, "edge type None")]:
        with pytest.raises(error, match=text):
            call()
    block.srcdata["short"] = rows(3, 2)
    with pytest.raises(DataError, match="but there are 8"):
        block.update_all(fn.copy_u("short", "m"), fn.sum("m", "o"))


def test_functions_are_found_under_the_name_that_scripts_use():
    assert mpignn.fn is fn
    assert len(BINARY) == 30 and all(callable(getattr(fn, name)) for name in BINARY)
    assert fn.u_add_v.__name__ == "u_add_v"
