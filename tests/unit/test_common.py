"""What two ascending lists have in common."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn.kernels.common import mark_common

ids = st.sets(st.integers(0, 40))


@settings(deadline=None)
@given(ids, ids)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_what_is_in_both_is_marked_and_nothing_else(dtype, some, others):
    out = np.full(len(some), 9)
    mark_common(np.array(sorted(some), np.int64), np.array(sorted(others), dtype), 3, out)
    assert out.tolist() == [3 if i in others else 9 for i in sorted(some)]
