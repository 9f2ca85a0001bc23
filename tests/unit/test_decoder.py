"""Scores of triples are the published formulas, and those of all candidates are the same numbers."""

import pytest
import torch

from mpignn.errors import ConfigError
from mpignn.nn.decoder import DECODERS, EdgeMLP, make_decoder

P, C, F, R = 5, 7, 6, 3


@pytest.fixture
def rows():
    torch.manual_seed(0)
    return torch.randn(P, F, dtype=torch.float64), torch.randn(P, F, dtype=torch.float64)


def complex_rows(x):
    real, imaginary = x.chunk(2, -1)
    return torch.complex(real, imaginary)


FORMULAS = {
    "dot": lambda s, r, d: (s * d).sum(1),
    "distmult": lambda s, r, d: (s * r * d).sum(1),
    "complex": lambda s, r, d: (complex_rows(s) * complex_rows(r) * complex_rows(d).conj()).sum(1).real,
    "transe": lambda s, r, d: 12 - (s + r - d).abs().sum(1),
    "rotate": lambda s, r, d: 12 - (complex_rows(s) * torch.exp(1j * r) - complex_rows(d)).abs().sum(1),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_score_is_the_formula(rows, name):
    decoder = make_decoder(name, R, F).double()
    for relation in range(R):
        r = None if name == "dot" else decoder.weight[relation]
        torch.testing.assert_close(decoder(rows[0], relation, rows[1]), FORMULAS[name](rows[0], r, rows[1]))


@pytest.mark.parametrize("name", DECODERS)
def test_candidates_for_either_end_have_the_scores_of_pairs(rows, name):
    decoder = make_decoder(name, R, F).double()
    candidates = torch.randn(C, F, dtype=torch.float64)
    asked_dst, asked_src = decoder.ask_dst(rows[0], 1), decoder.ask_src(rows[1], 1)
    for number, row in enumerate(candidates):
        same = row.expand(P, F)
        torch.testing.assert_close(decoder.similarities(asked_dst, candidates)[:, number], decoder(rows[0], 1, same))
        torch.testing.assert_close(decoder.similarities(asked_src, candidates)[:, number], decoder(same, 1, rows[1]))
    assert decoder.similarities(asked_dst[:0], candidates).shape == (0, C)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("nodes", [1, C, 40 * C], ids=["one node", "few nodes", "many nodes"])
def test_candidates_picked_for_pairs_have_the_scores_of_pairs(rows, name, nodes):
    decoder = make_decoder(name, R, F).double()
    asked, of_nodes = (x.requires_grad_() for x in (rows[0], torch.randn(nodes, F, dtype=torch.float64)))
    picks = torch.randint(nodes, (P, C), generator=torch.Generator().manual_seed(0))
    expected = decoder.similarity(asked[:, None], of_nodes[picks])
    found = decoder.picked(asked, of_nodes, picks)
    torch.testing.assert_close(found, expected)
    toward = torch.randn(P, C, dtype=torch.float64)
    for ours, theirs in zip(*(torch.autograd.grad((scores * toward).sum(), (asked, of_nodes)) for scores in
                              (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert decoder.picked(asked[:0], of_nodes, picks[:0]).shape == (0, C)


@pytest.mark.parametrize("name", DECODERS)
def test_pairs_may_have_relations_of_their_own(rows, name):
    decoder = make_decoder(name, R, F).double()
    relations = [2, 0, 1, 0, 2]
    for asked in (decoder.forward, lambda s, r, d: decoder.ask_dst(s, r), lambda s, r, d: decoder.ask_src(d, r)):
        alone = torch.cat([asked(rows[0][[n]], r, rows[1][[n]]) for n, r in enumerate(relations)])
        torch.testing.assert_close(asked(rows[0], torch.tensor(relations), rows[1]), alone)


@pytest.mark.parametrize("name", ["distmult", "complex"])
def test_at_first_no_node_fits_itself_better_than_others(name):
    torch.manual_seed(0)
    nodes, relations, columns = 60, 50, 32
    rows, itself = torch.randn(nodes, columns), torch.arange(nodes)
    decoder = make_decoder(name, relations, columns)

    def best(relation: int) -> torch.Tensor:
        return decoder.similarities(decoder.ask_dst(rows, relation), rows).argmax(1)

    share = torch.stack([best(r) == itself for r in range(relations)]).double().mean()
    assert 0 < share < 0.2      # 1/60 each if all were alike; the inner product would give 1
    assert decoder.weight.abs().max() <= (6 / (relations + columns))**0.5        # Glorot and Bengio 2010


@pytest.mark.parametrize("name", DECODERS)
def test_it_can_be_learnt(rows, name):
    decoder = make_decoder(name, R, F).double()
    src, dst = (x.requires_grad_() for x in rows)
    assert torch.autograd.gradcheck(lambda s, d: decoder(s, 2, d), (src, dst))
    same = torch.zeros(P, F, dtype=torch.float64, requires_grad=True)
    decoder.similarity(same, same).sum().backward()
    assert same.grad.isfinite().all()


def test_an_edge_is_judged_by_both_ends(rows):
    torch.manual_seed(0)
    judge = EdgeMLP(F, 4).double()
    out = judge(*rows)
    assert out.shape == (P, 4) and not torch.allclose(out, judge(rows[1], rows[0]))
    assert judge(rows[0][:0], rows[1][:0]).shape == (0, 4)


def test_what_cannot_be_decoded_is_refused():
    with pytest.raises(ConfigError, match="not one of: dot, distmult"):
        make_decoder("cosine", R, F)
    for name in ("complex", "rotate"):
        with pytest.raises(ConfigError, match="even"):
            make_decoder(name, R, 5)
