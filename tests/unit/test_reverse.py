"""What ``--reverse-etypes`` says of the edges that are learnt about, and what it cannot say."""

import pytest

from mpignn.errors import ConfigError
from mpignn.graph.types import Schema
from mpignn.options import load_config
from mpignn.train.tasks.reverse import known_reverses

WRITES, BY, WROTE, OF = ("a", "writes", "p"), ("p", "by", "a"), ("a", "wrote", "p"), ("p", "of", "a")
CITES, REV = ("p", "cites", "p"), ("p", "rev_cites", "p")
SCHEMA = Schema(("a", "p"), (WRITES, BY, WROTE, OF, CITES, REV))


def known(told: str, *etypes):
    task = load_config(None, {"exclude": "reverse_types", "reverse_etypes": told}).task
    return known_reverses(task, SCHEMA, etypes)


def test_a_pair_is_told_in_any_order_and_wins_over_the_name():
    assert known("writes=by", WRITES) == known("by=writes", WRITES) == {WRITES: BY}
    assert known("writes=by", WRITES, CITES) == {WRITES: BY, CITES: REV}
    assert known("cites=cites", CITES) == {CITES: CITES}        # an undirected relation is its own reverse
    assert known("cites=cites", CITES, REV) == {CITES: CITES, REV: CITES}
    assert known("writes=by,p:by:a=wrote", WRITES, WROTE) == {WRITES: BY, WROTE: BY}


@pytest.mark.parametrize(("told", "said"), [
    ("cites=rev_cites", r"cites=rev_cites has no effect: what is learnt about is a:writes:p"),
    ("writes=by,wrote=of", "wrote=of has no effect"),
    ("writes=by,writes=of", "both p:by:a and p:of:a are told to lead back along a:writes:p"),
    ("writes=writes", "a:writes:p does not lead back from p to a"),
    ("writes=wrote", "a:wrote:p does not lead back"), ("writes=nosuch", "writes=nosuch: .*nosuch"),
    ("nosuch=by", "nosuch=by: .*nosuch"), ("writes", "'writes' is not of the form"), ("", " is empty"),
    ("=", "=: "), ("writes=by=of", "writes=by=of: .*by=of")])
def test_what_cannot_be_meant_is_refused(told, said):
    with pytest.raises(ConfigError, match=f"^--reverse-etypes.*{said}"):
        known(told, WRITES)
