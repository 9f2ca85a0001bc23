"""The public face: one list of names, which tab completion shows, and each says what it is."""

import inspect
import json
import re
import subprocess
import sys

import pytest

import mpignn
from mpignn import errors
from mpirun import environment

# In a process of its own, since some names bring in MPI.
_LOOK = """
import inspect, json, mpignn
seen, silent = {}, []
for name in mpignn.__all__:
    thing = getattr(mpignn, name)
    seen.setdefault(id(thing), []).append(name)
    own = vars(thing).items() if inspect.isclass(thing) else ()
    methods = [key for key, value in own if not key.startswith("_")
               and (inspect.isroutine(value) or isinstance(value, property))]
    silent += [f"{name}.{key}" for key in methods if not inspect.getdoc(getattr(thing, key))]
    silent += [name] if not isinstance(thing, str) and not inspect.getdoc(thing) else []
print(json.dumps([sorted(names for names in seen.values() if len(names) > 1), silent]))
"""


@pytest.fixture(scope="module")
def looked() -> tuple[list, list]:
    """Names of the same thing, and names and methods without a docstring."""
    done = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, timeout=120, check=True,
                          env=environment())
    return tuple(json.loads(done.stdout))


def test_tab_completion_shows_the_public_names_and_nothing_else():
    assert set(dir(mpignn)) == {*mpignn.__all__, "__version__"}
    assert re.match(r"\d+\.\d+", mpignn.__version__)


def test_all_errors_are_public():
    own = {name for name, kind in vars(errors).items()
           if inspect.isclass(kind) and kind.__module__ == errors.__name__}
    assert own <= set(mpignn.__all__)


def test_only_names_of_dgl_are_second_ones(looked):
    assert looked[0] == [["EID", "NID"], ["MultiLayerNeighborSampler", "NeighborSampler"]]


def test_every_public_name_and_method_says_what_it_is(looked):
    assert looked[1] == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mpignn' has no attribute 'Graph'"):
        _ = mpignn.Graph
