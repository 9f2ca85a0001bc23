"""Layer-neighbor sampling.

False alarms: the statistical test would fail for 1 in 10^6 keys; the keys are fixed.
"""

import numpy as np
import pytest
from reference_sampling import draw
from scipy import stats
from services import make_graph, serve
from test_neighbor import CITES, LOOP, OWNS, WROTE, hetero

from mpignn.errors import ConfigError
from mpignn.kernels.rng import derive
from mpignn.sampling.canonical import canonical_form
from mpignn.sampling.labor import LaborSampler
from mpignn.sampling.neighbor import NeighborSampler


@pytest.mark.parametrize("visible", [None, (0, 1)])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_source_is_taken_by_all_who_have_room_for_it(parts, visible):
    graph = hetero(40, 10, 300, seed=1)
    served = serve(graph, parts, 2, visible)
    seeds = {"paper": np.array([7, 3, 39, 0]), "author": np.array([9])}
    fanouts = [{CITES: 2, WROTE: 0, OWNS: -1}, 3]
    _, _, blocks = LaborSampler(fanouts).sample(served.published, {t: served.new[t][v] for t, v in seeds.items()}, 4)
    frontier = {t: set(v.tolist()) for t, v in seeds.items()}
    for hop, found in enumerate(canonical_form(served.published, blocks)):
        reached = {t: set(v) for t, v in frontier.items()}
        for etype, csc in graph.csc.items():
            fanout = fanouts[1 - hop] if hop == 0 else fanouts[0][etype]
            key = derive(4, hop, ["paper", "author"].index(etype[0]))
            rows = []
            for v in sorted(frontier[etype[2]]):
                row = csc.indices[csc.indptr[v]:csc.indptr[v + 1]].tolist()
                room = 1.0 if fanout < 0 else fanout / max(len(row), 1)
                rows.append((v, tuple(t for t in row if ((draw(key, t) >> 12) + 0.5) * 2.0**-52 < room)))
                reached[etype[0]].update(rows[-1][1])
            assert found[etype] == rows
        frontier = reached


def test_each_edge_is_as_likely_as_fanout_by_degree_and_sources_are_fewer():
    rng = np.random.default_rng(0)
    graph = make_graph({"node": 400}, {LOOP: (rng.integers(0, 400, 8000), np.repeat(np.arange(400), 20))})
    published = serve(graph).published
    sizes, sources, others = [], [], []
    for key in range(200):
        _, _, (block,) = LaborSampler([5]).sample(published, np.arange(0, 400, 2), key)
        sizes.append(block.num_edges())
        sources.append(block.num_src_total)
        others.append(NeighborSampler([5]).sample(published, np.arange(0, 400, 2), key)[2][0].num_src_total)
    # 200 rows of 20 edges, each taken with chance 1/4; edges of a source come together, so the mean is tested.
    assert stats.ttest_1samp(sizes, 1000).pvalue > 1e-6
    assert np.mean(sources) < 0.8 * np.mean(others)


def test_fanouts_are_checked():
    for fanouts in [], [-2]:
        with pytest.raises(ConfigError, match="fanout"):
            LaborSampler(fanouts)
