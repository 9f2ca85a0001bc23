"""The models that a job can ask for: one record each, for settings, checks, memory plan, warm-up and making.

They have a name, or are a class of the user's own, which the trainers import and tell of (`mpignn.nn.own`).  No torch:
all ranks read the records, and only trainers import the class.  All sizes are numbers of elements, not bytes.
`tests/e2e/test_planned_memory.py` holds them against jobs.

Shapes: S sources, D destinations and E edges of a hop, A columns into a layer and B out of it, R relations.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mpignn.arguments import named_values
from mpignn.errors import ConfigError
from mpignn.graph.types import Schema, etype_key, parse_etype

Settings = Any      # the section `model` of the configuration, which reads this file
ATTENTION = "attention"
COMBINED_BY = ("sum", "mean", "max", ATTENTION)     # what edge types bring to a node; see `AcrossTypes`
LAST, CAT, MAX = JUMPS = ("last", "cat", "max")     # which layers' rows the output is made of; see `Around`
AROUND = ("residual", "layer_norm", "jk", "out_layers")     # settings of what goes around the layers of any model
OWN = "FILE.py:CLASS"       # stands for all classes of the user's own where models are listed


@dataclass(frozen=True)
class Hop:
    """Rows and edges of a block: by node type, and by edge type key.

    Attributes:
        dst, src: D and S of each node type.
        edges: E of each edge type.
        edge_columns: How many columns the features of edges have that layers read, of the edge types with such.
    """

    dst: Mapping[str, float]
    src: Mapping[str, float]
    edges: Mapping[str, float]
    edge_columns: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_dst(self) -> float:
        return sum(self.dst.values())

    @property
    def num_src(self) -> float:
        return sum(self.src.values())

    @property
    def num_edges(self) -> float:
        return sum(self.edges.values())

    @property
    def featured(self) -> float:
        """E of the edge types that have features."""
        return sum(self.edges[key] for key in self.edge_columns)


@dataclass(frozen=True)
class Size:
    """Elements of a part of a network.

    Attributes:
        parameters: Its parameters.
        kept: What its forward pass leaves for its backward pass.
        backward: What that takes for itself.
        forward: What the forward pass takes where nothing is kept.
    """

    parameters: float = 0
    kept: float = 0
    backward: float = 0
    forward: float = 0


Layer = Callable[[Settings, Hop, int, int], Size]        # of A and B columns
Check = Callable[[Settings, Sequence[tuple[int, int]], Schema], str | None]


def _any_width(settings: Settings, columns: Sequence[tuple[int, int]], schema: Schema) -> str | None:
    return None


@dataclass(frozen=True)
class Model:
    """What a job must know of a model before it makes one.

    Attributes:
        name: As the configuration has it; of a class of the user's own, ``FILE.py:CLASS`` with the absolute path, or
            ``PACKAGE.MODULE:CLASS``.
        made_by: ``module:class``; see `mpignn.nn.make_model` for what the class is given.
        layer_size: What a layer holds, which says the same as its code.
        settings: Those of the section ``model`` that the class takes, beside ``hidden`` and the number of layers.
        arguments: What else it may be given, by the setting ``model_args``; of a class of the user's own, whatever it
            takes.
        several_types: Whether it tells node and edge types apart; others take one of each.
        per_type: Whether it stands for layers of each edge type where there are several types, as the class
            `mpignn.nn.per_type.PerEdgeType` has them.
        reads_own: Whether these read the destinations' own rows, not as those of one more in-neighbor.
        sees_neighbors: Whether it reads more than the seeds' own rows.
        learns: Whether it has parameters; else it passes on the rows that enter.
        projects: Whether it brings the rows of each node type to ``hidden`` columns first, where there are several
            types, or rows of none.
        reads_out: Whether all its layers have ``hidden`` columns, and a matrix brings those of the last to the output.
        reads_edges: Settings of the section ``graph`` that have an effect: what its layers read of edges.
        needs_edge_feats: Whether it cannot do without features of edges.
        around: Whether `AROUND` have an effect: its class is a `mpignn.nn.Stack` that `mpignn.nn.around.Around` takes.
        kernels: Modules of `mpignn.kernels` that it needs beside those that all models do.
        layerwise: Whether it can be computed layer after layer, with all neighbors.
        check: What is wrong with the settings, given A and B of each layer, 0 where that is not known, and the graph's
            types; None: nothing.
    """

    name: str
    made_by: str
    layer_size: Layer
    settings: tuple[str, ...] = ("dropout", "input_dropout")
    arguments: tuple[str, ...] = ()
    several_types: bool = False
    per_type: bool = False
    reads_own: bool = True
    sees_neighbors: bool = True
    learns: bool = True
    projects: bool = False
    reads_out: bool = False
    reads_edges: tuple[str, ...] = ()
    needs_edge_feats: bool = False
    around: bool = True
    kernels: tuple[str, ...] = ()
    layerwise: bool = True
    check: Check = _any_width


def find_model(name: str) -> Model:
    """The record of a model; of the user's own, once it is known here.  Not collective.

    Raises:
        ConfigError: There is no such model.
    """
    found = MODELS.get(name) or _own.get(name)
    if found is None:
        raise ConfigError(f"model {name!r} is not one of: {', '.join(MODELS)}, or {OWN}")
    return found


def is_own(name: str) -> bool:
    """Whether a model is a class of the user's own.  Not collective."""
    return name not in MODELS and own_name(name) is not None


def own_name(text: str) -> str | None:
    """The name of a class of the user's own, with the absolute path of its file; None if a text is no such name."""
    where, _, name = text.rpartition(":")
    if where.endswith(".py") and name.isidentifier():
        return f"{os.path.abspath(where)}:{name}"
    return text if all(part.isidentifier() for part in (*where.split("."), name)) else None


def name_in_runs(name: str) -> str:
    """What must be the same for a run to go on: not the folder that a class's file lies in."""
    return os.path.basename(name) if is_own(name) else name


def make_own(name: str, settings: Collection[str], several_types: bool, layerwise: bool) -> Model:
    """The record of a class of the user's own; arguments are attributes of `Model`.  Not collective."""
    kernels = dict.fromkeys(kernel for model in MODELS.values() for kernel in model.kernels)
    return Model(name, name, _guess, tuple(settings), several_types=several_types, kernels=tuple(kernels),
                 layerwise=layerwise, around=False)


def remember(model: Model) -> None:
    """Let `find_model` find a class of the user's own in this process.  Not collective."""
    _own[model.name] = model


def models_with(setting: str) -> tuple[str, ...]:
    """Names of the models that take a setting."""
    return tuple(model.name for model in MODELS.values() if takes(model, setting))


def takes(model: Model, setting: str) -> bool:
    """Whether a setting has an effect on a model."""
    also = {"combine": model.per_type, "model_args": is_own(model.name) or bool(model.arguments)}
    return setting in (*model.settings, *model.reads_edges) or also.get(setting, model.around and setting in AROUND)


def has_more_around(settings: Settings) -> bool:
    """Whether more goes around the layers than the model has by itself: what an `Around` is for."""
    model = find_model(settings.model)
    asked = settings.residual or settings.layer_norm or settings.jk != LAST or settings.out_layers > model.reads_out
    return model.around and asked


def readout_layers(settings: Settings) -> int:
    """Linear layers after those on blocks; 0 where the last of these makes the output."""
    model = find_model(settings.model)
    asked = max(settings.out_layers, int(settings.jk != LAST)) if model.around else 0
    return max(asked, int(model.reads_out))


def arguments_of(settings: Settings) -> dict[str, Any]:
    """What ``model_args`` gives a constructor, by name: numbers, truth values and texts.  Not collective.

    Raises:
        ConfigError: One is not of the form NAME=VALUE, or a name comes twice.
    """
    return named_values(settings.model_args, "model-args")


def check_arguments(settings: Settings) -> None:
    """Raise `ConfigError` if ``model_args`` has what a model with a name does not take beside others that it takes.

    Where it takes none, ``model_args`` has no effect.  Not collective.
    """
    given, known = arguments_of(settings), MODELS[settings.model].arguments if settings.model in MODELS else ()
    for name in given.keys() - set(known) if known else ():
        raise ConfigError(f"model-args: model {settings.model} does not take {name}; it takes: {', '.join(known)}")


def takes_types(model: Model) -> bool:
    """Whether a model can learn from graphs with several node or edge types."""
    return model.several_types or model.per_type


def check_types(model: Model, schema: Schema) -> None:
    """Raise `ConfigError` if a model cannot tell the types of a graph apart.  Not collective."""
    if not schema.is_homogeneous and not takes_types(model):
        others = " or ".join(other.name for other in MODELS.values() if takes_types(other) and other.learns)
        mend = "let its constructor take schema" if is_own(model.name) else f"choose --model {others}"
        raise ConfigError(f"the graph has {len(schema.ntypes)} node types and {len(schema.etypes)} edge types: the "
                          f"model {model.name} takes one of each; {mend}, or merge them in the source")


def _sage(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    s, d, pool = hop.num_src, hop.num_dst, settings.aggregator == "pool"
    shrunk = s * b if b < a and not pool else 0     # the matrix comes first
    return Size(parameters=(1 if settings.aggregator == "gcn" else 2) * a * b + b + (a * a + a if pool else 0),
                kept=2 * d * (a + b) + (2 * s * a + d * a if pool else 0),
                backward=d * b + (2 * s * a if pool else 0),
                forward=shrunk + d * (2 * a + b) + (s * a if pool else 0))


def _gcn(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    """The destinations' own rows are a slice of the sources': its gradient has rows for all of these, and is added."""
    s, d, few = hop.num_src, hop.num_dst, min(a, b)
    scaled = s * a if settings.norm == "both" else 0
    return Size(parameters=a * b + b, kept=2 * d * (a + b) + (scaled if b < a else 0),
                backward=2 * s * a + scaled + s * few + d * b,
                forward=scaled + (d * a if scaled else 0) + s * few + d * (2 * few + b))


def _gat(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    """Projected sources, which attention multiplies by vectors; some numbers on each edge and head, loops included."""
    s, d, on_edges = hop.num_src, hop.num_dst, (hop.num_edges + hop.num_dst) * settings.heads
    rows, columns = 2 * hop.featured * b, sum(hop.edge_columns.values())
    return Size(parameters=a * b + 3 * b + columns * b + b * len(hop.edge_columns),
                kept=s * b + 2 * d * b + 4 * on_edges + rows, backward=2 * s * b + 3 * on_edges + d * b + rows,
                forward=2 * s * b + 2 * d * b + 4 * on_edges + rows)


def _gatv2(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    """As gat, but for rows on each edge: the sum of both ends and its LeakyReLU, and a gradient of each."""
    like, rows = _gat(settings, hop, a, b), (hop.num_edges + hop.num_dst) * b
    return Size(parameters=like.parameters + a * b,
                kept=like.kept + hop.num_dst * b + 2 * rows,
                backward=like.backward + 3 * rows, forward=like.forward + hop.num_dst * b + 3 * rows)


def _gin(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    """Own rows and sums, and two linear layers with ``hidden`` columns between them."""
    s, d, middle = hop.num_src, hop.num_dst, settings.hidden
    learnt = int(bool(arguments_of(settings).get("train_eps")))
    return Size(parameters=(a + 1) * middle + (middle + 1) * b + learnt, kept=2 * d * (a + middle + b),
                backward=2 * s * a + d * (a + middle), forward=d * (3 * a + middle + b))


def _gine(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    """As gin, with rows on the edges that have features: of the source, of these, and their sum."""
    like, rows = _gin(settings, hop, a, b), hop.featured * a
    return Size(parameters=like.parameters + sum((columns + 1) * a for columns in hop.edge_columns.values()),
                kept=like.kept + 2 * rows, backward=like.backward + 2 * rows, forward=like.forward + 3 * rows)


def _rgcn(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    """Rows of the sources of each relation, what it brings to each destination that it reaches, before and after its
    matrix, and that of all relations once more; and a matrix for each.

    The gradients of the relations' matrices are there one by one, and once more together.
    """
    reached = {key: min(hop.edges[key], hop.dst[parse_etype(key)[2]]) for key in hop.edges}
    all_reached, most, s, d = sum(reached.values()), max(reached.values(), default=0), hop.num_src, hop.num_dst
    taken = a * sum(min(hop.edges[key], hop.src[parse_etype(key)[0]]) for key in hop.edges)
    whole, bases = len(hop.edges) * a * b, settings.bases
    matrices = whole
    if bases is not None:
        matrices = whole / bases if settings.regularizer == "bdd" else bases * (a * b + len(hop.edges))
    made = whole if bases is not None and settings.regularizer == "basis" else 0
    return Size(parameters=matrices + a * b + b, kept=taken + all_reached * a + 3 * d * b + made,
                backward=taken + 2 * s * a + 2 * all_reached * b + 2 * (made or matrices),
                forward=taken + made + 3 * d * b + 2 * all_reached * b + most * a)


def _hgt(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    """Keys and values of all sources, those of each relation's sources once more, and rows on each edge."""
    s, d, e, relations = hop.num_src, hop.num_dst, hop.num_edges, len(hop.edges)
    related = 2 * b * sum(min(hop.edges[key], hop.src[parse_etype(key)[0]]) for key in hop.edges)
    matrices, rows = 2 * relations * b * b / settings.heads, 2 * b * e + 3 * settings.heads * e
    return Size(parameters=len(hop.dst) * (3 * (a + 1) * b + (b + 1) * b + 1) + matrices + relations * settings.heads,
                kept=2 * s * b + 2 * related + 5 * d * b + rows + matrices / 2,
                backward=2 * s * b + 2 * related + rows + 2 * d * b + matrices,
                forward=2 * s * b + 2 * related + rows + 4 * d * b + matrices / 2)


def _mlp(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    return Size(parameters=a * b + b, kept=2 * hop.num_dst * (a + b), backward=2 * hop.num_dst * (a + b),
                forward=2 * hop.num_dst * (a + b))


def _guess(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    """What a layer may hold that nobody has described: projected rows of sources and destinations, and two matrices."""
    s, d = hop.num_src, hop.num_dst
    return Size(parameters=2 * a * b + b, kept=s * b + 2 * d * (a + b), backward=2 * s * b + d * b,
                forward=2 * s * b + 2 * d * (a + b))


def _nothing(settings: Settings, hop: Hop, a: int, b: int) -> Size:
    return Size(forward=hop.num_dst * a)


def _check_norm(settings: Settings, columns: Sequence[tuple[int, int]], schema: Schema) -> str | None:
    apart = next((etype for etype in schema.etypes if etype[0] != etype[2]), None)
    if settings.norm != "both" or apart is None:
        return None
    return (f"--norm both: gcn takes the graph to be symmetric, but {etype_key(apart)} joins two node types; "
            "choose --norm right")


def _check_heads(settings: Settings, columns: Sequence[tuple[int, int]], schema: Schema) -> str | None:
    if settings.hidden % settings.heads == 0:
        return None
    return (f"--hidden {settings.hidden}: {settings.hidden} hidden columns cannot be shared out among {settings.heads} "
            "heads; choose another --heads")


def _check_eps(settings: Settings, columns: Sequence[tuple[int, int]], schema: Schema) -> str | None:
    given = arguments_of(settings).get("train_eps", False)
    return None if isinstance(given, bool) else f"--model-args train_eps={given}: it must be true or false"


def _check_blocks(settings: Settings, columns: Sequence[tuple[int, int]], schema: Schema) -> str | None:
    bases = settings.bases
    if bases is None or settings.regularizer != "bdd":
        return None
    for a, b in columns:
        if a % bases or b % bases:
            return (f"--bases {bases}: a matrix of {a} x {b or 'some'} cannot be cut into {bases} diagonal blocks: "
                    "choose a number of bases that divides both")
    return None


_PLAIN = ("dropout", "input_dropout")
_FEATS, _WEIGHT = ("edge_feats",), ("edge_weight",)
_ATTENTION = (*_PLAIN, "heads", "out_heads", "attention_dropout")

MODELS = {model.name: model for model in (
    Model("sage", "mpignn.nn.sage:GraphSAGE", _sage, (*_PLAIN, "aggregator"), per_type=True, projects=True,
          reads_edges=_WEIGHT),
    Model("gcn", "mpignn.nn.gcn:GCN", _gcn, (*_PLAIN, "norm"), per_type=True, reads_own=False, projects=True,
          reads_edges=_WEIGHT, check=_check_norm),
    Model("gat", "mpignn.nn.gat:GAT", _gat, _ATTENTION, per_type=True, reads_own=False, projects=True,
          reads_edges=_FEATS + _WEIGHT, kernels=("edges",), check=_check_heads),
    Model("gatv2", "mpignn.nn.gat:GATv2", _gatv2, _ATTENTION, per_type=True, reads_own=False, projects=True,
          reads_edges=_FEATS + _WEIGHT, kernels=("edges",), check=_check_heads),
    Model("gin", "mpignn.nn.gin:GIN", _gin, per_type=True, projects=True, arguments=("train_eps",),
          reads_edges=_WEIGHT, check=_check_eps),
    Model("gine", "mpignn.nn.gin:GINE", _gine, per_type=True, projects=True, arguments=("train_eps",),
          reads_edges=_FEATS, needs_edge_feats=True, kernels=("edges",), check=_check_eps),
    Model("rgcn", "mpignn.nn.rgcn:RGCN", _rgcn, (*_PLAIN, "regularizer", "bases"), several_types=True, projects=True,
          check=_check_blocks),
    Model("hgt", "mpignn.nn.hgt:HGT", _hgt, (*_PLAIN, "heads"), several_types=True, projects=True, reads_out=True,
          kernels=("edges",), check=_check_heads),
    Model("mlp", "mpignn.nn.mlp:MLP", _mlp, sees_neighbors=False, around=False),
    Model("none", "mpignn.nn.mlp:NoModel", _nothing, (), several_types=True, sees_neighbors=False, learns=False,
          around=False),
)}
USUAL = "sage"
_own: dict[str, Model] = {}     # classes of the user's own that this process knows
