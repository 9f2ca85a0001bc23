import pytest
import torch

from blocks import HETERO, hetero_block, rows
from mpignn.errors import ConfigError, UnknownName
from mpignn.nn import GATConv, GraphConv, HeteroGraphConv, SAGEConv

LIKES, LIKED, KNOWS = HETERO.etypes
X = {"user": rows(7, 6), "item": rows(5, 6, seed=1)}


def own(block, ntype):
    return X[ntype][:block.num_dst[ntype]]


@pytest.mark.parametrize("aggregate", ["sum", "mean", "max", "min", "stack", lambda parts, _: torch.cat(parts, 1)])
def test_each_type_has_its_layer_and_results_are_aggregated(aggregate):
    torch.manual_seed(0)
    block = hetero_block()
    mods = {LIKES: GraphConv(6, 4), "liked": SAGEConv(6, 4), "user:knows:user": SAGEConv(6, 4, "pool")}
    layer = HeteroGraphConv(mods, aggregate).double()
    found, alone = layer(block, X), mods[LIKES](block["likes"], (X["user"], own(block, "item")))
    torch.testing.assert_close(found["item"].flatten(), alone.flatten())
    parts = [layer.mods["liked"](block["liked"], (X["item"], own(block, "user"))),
             layer.mods["user:knows:user"](block["knows"], (X["user"], own(block, "user")))]
    both = torch.stack(parts)
    expected = torch.cat(parts, 1) if callable(aggregate) else {
        "sum": both.sum(0), "mean": both.mean(0), "max": both.amax(0), "min": both.amin(0),
        "stack": both.transpose(0, 1)}[aggregate]
    torch.testing.assert_close(found["user"], expected)


@pytest.mark.parametrize("aggregate", ["sum", "mean", "max", "min", "stack"])
def test_what_follows_may_work_in_place(aggregate):
    block, mods = hetero_block(), {"liked": SAGEConv(6, 4), "knows": SAGEConv(6, 4)}
    layer = HeteroGraphConv(mods, aggregate).double()
    x = {ntype: values.clone().requires_grad_() for ntype, values in X.items()}
    found = {}
    for in_place in (False, True):
        out = layer(block, x)["user"]
        (torch.relu_(out) if in_place else torch.relu(out)).sum().backward()
        found[in_place] = [values.grad for values in x.values()]
        for values in x.values():
            values.grad = None
    torch.testing.assert_close(found[True], found[False])


def test_types_without_a_layer_are_left_out_and_keywords_reach_the_layers():
    torch.manual_seed(0)
    layer, block = HeteroGraphConv({"knows": GATConv(6, 4, 2, attn_drop=0.5)}).double(), hetero_block()
    one, two = (layer(block, X, {"knows": {"key": key}}) for key in (1, 2))
    assert set(one) == {"user"} and not torch.equal(one["user"], two["user"])
    assert torch.equal(one["user"], layer(block, X, {"knows": {"key": 1}})["user"])


def test_edge_types_with_an_end_without_rows_are_left_out():
    torch.manual_seed(0)
    block, mods = hetero_block(), {etype: SAGEConv(6, 4) for etype in HETERO.etypes}
    layer = HeteroGraphConv(mods).double()
    found = layer(block, {"user": X["user"]})
    assert set(found) == {"user"}
    torch.testing.assert_close(found["user"], mods[KNOWS](block["knows"], (X["user"], own(block, "user"))))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="sum, mean, max, min, stack"):
        HeteroGraphConv({}, "prod")
    with pytest.raises(UnknownName, match="'hates' is unknown"):
        HeteroGraphConv({"hates": SAGEConv(6, 4)})(hetero_block(), X)
