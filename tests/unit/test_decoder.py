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
