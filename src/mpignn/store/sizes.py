"""What a network holds at a time, as the memory plan counts it: its layers, which `mpignn.models` tells of, and heads.

No torch: the first rank plans before any of it is loaded.
"""

from collections.abc import Mapping, Sequence

from mpignn.config import Config, ModelConfig
from mpignn.graph.types import Schema, parse_etype
from mpignn.models import ATTENTION, CAT, LAST, MAX, Hop, Model, Size, find_model, readout_layers

INFERENCE_BATCH = 1000      # nodes that a trainer computes at a time where all are computed
LINK_SOURCES = 512          # of which a trainer looks for new links at a time
LINK_CANDIDATES = 8192      # scored at a time


def layer_columns(config: Config, inputs: Mapping[str, int], outputs: int) -> list[tuple[int, int]]:
    """Columns into and out of each layer, where the first one reads ``inputs`` columns of each node type."""
    hidden, width = config.model.hidden, max(inputs.values(), default=0)
    if not find_model(config.model.model).learns:
        return [(width, width)]
    if _is_projected(config, inputs):
        width = hidden
    sizes = [width] + [hidden] * (config.num_layers - 1) + [hidden if readout_layers(config.model) else outputs]
    return list(zip(sizes, sizes[1:], strict=False))


def row_columns(config: Config, inputs: Mapping[str, int], outputs: int) -> list[tuple[int, int]]:
    """The same of rows that come and go where all nodes are computed layer by layer: with those of layers before."""
    columns, settings = layer_columns(config, inputs, outputs), config.model
    most = {CAT: len(columns), MAX: 2}.get(settings.jk, 1) if find_model(settings.model).around else 1
    sizes = [columns[0][0], *(min(number, most) * b for number, (_, b) in enumerate(columns[:-1], 1)),
             outputs if readout_layers(settings) else columns[-1][1]]
    return list(zip(sizes, sizes[1:], strict=False))


def layer_sizes(config: Config, inputs: Mapping[str, int], outputs: int, hops: Sequence[Hop]) -> list[Size]:
    """What each layer holds, and, where the model has such, the matrices that bring each type's rows to one width.

    Args:
        config: Settings of the run.
        inputs: Columns of what the first layer reads of each node type, 0 for nothing.
        outputs: Columns out of the last layer.
        hops: Those of the layers, input layer first.
    """
    settings, columns = config.model, layer_columns(config, inputs, outputs)
    model = find_model(settings.model)
    if not model.sees_neighbors:
        hops = [hops[-1]] * len(columns)
    last = len(columns) - 1
    readout = readout_layers(settings)
    heads = settings.out_heads if "out_heads" in model.settings and not readout else 1
    sizes = [_layer_size(model, settings, hop, a, b, heads if number == last else 1)
             for number, (hop, (a, b)) in enumerate(zip(hops, columns, strict=True))]
    if _is_projected(config, inputs):
        rows = hops[0].num_src * settings.hidden
        sizes.insert(0, Size(sum((width + 1) * settings.hidden for width in inputs.values()), rows, rows, rows))
    if model.around and (settings.residual or settings.layer_norm):
        sizes += [_after_size(settings, hop, a, b, number < last or readout > 0)
                  for number, (hop, (a, b)) in enumerate(zip(hops, columns, strict=True))]
    return sizes + _readout_sizes(settings, readout, hops[last].num_dst, outputs, len(columns))


def _after_size(settings: ModelConfig, hop: Hop, a: int, b: int, normalizes: bool) -> Size:
    """A residual connection, whose gradient is added to all sources', and normalization."""
    rows, added, scaled, types = hop.num_dst * b, settings.residual, settings.layer_norm and normalizes, len(hop.dst)
    return Size(types * (added * (a * b if a != b else 0) + scaled * 2 * b), (added + 2 * scaled) * rows,
                added * 2 * hop.num_src * a + scaled * rows, (added + scaled) * rows)


def _readout_sizes(settings: ModelConfig, count: int, rows: float, outputs: int, layers: int) -> list[Size]:
    """Linear layers after the last one on blocks, with the rows of all of these where they are joined."""
    if not count:
        return []
    hidden = settings.hidden
    first = layers * hidden if settings.jk == CAT else hidden
    widths = [first, *[hidden] * (count - 1), outputs]
    joined = rows * layers * hidden if settings.jk != LAST else 0
    return [Size(kept=rows * hidden + joined, backward=joined, forward=joined), *(
        Size((a + 1) * b, 2 * rows * b, rows * (a + b), rows * (a + b))
        for a, b in zip(widths, widths[1:], strict=False))]


def head_size(config: Config, outputs: int, edges: float, schema: Schema) -> Size:
    """What reads a number of edges off the model's rows, in training with their false ones; nothing for nodes."""
    columns, task = config.model.hidden, config.task
    if task.task.startswith("node"):
        return Size()
    if task.task != "link_prediction":
        held = edges * 4 * columns
        return Size((2 * columns + 1) * columns + (columns + 1) * outputs, held, held, held)
    relations = len(schema.etypes) * columns if task.decoder != "dot" else 0
    # Rows of both ends and what is asked for; on either side a row for each false link.
    rows, differences = edges * columns * task.num_negatives, 3 if task.decoder == "rotate" else 1
    return Size(relations, edges * 4 * columns + 2 * rows * differences, 2 * rows, edges * 4 * columns)


def _layer_size(model: Model, settings: ModelConfig, hop: Hop, a: int, b: int, heads: int) -> Size:
    """A layer of b columns out, or of so many heads of as many; of a model of single edge types, one for each type."""
    if not model.per_type or len(hop.dst) == len(hop.edges) == 1:
        return model.layer_size(settings, hop, a, b * heads)
    ends = {key: parse_etype(key) for key in hop.edges}
    hops = [Hop({dst: hop.dst[dst]}, {src: hop.src[src]}, {key: hop.edges[key]},
                {key: hop.edge_columns[key] for key in [key] if key in hop.edge_columns})
            for key, (src, _, dst) in ends.items()]
    sizes = [model.layer_size(settings, of_type, a, b * heads) for of_type in hops]
    combined = sum(hop.dst[dst] for _, _, dst in ends.values()) * b
    attends, reached = settings.combine == ATTENTION, {dst for _, _, dst in ends.values()}
    own = hop.dst.keys() - reached if model.reads_own else hop.dst.keys()
    kept = sum(hop.dst[ntype] for ntype in own) * b + hop.num_dst * b + combined * (3 if attends else 1)
    return Size(sum(size.parameters for size in sizes) + len(own) * (a + 1) * b + (b + 2) * b * attends,
                sum(size.kept for size in sizes) + kept, max(size.backward for size in sizes) + 2 * combined,
                max(size.forward for size in sizes) + (4 if attends else 2) * combined + hop.num_dst * b)


def _is_projected(config: Config, inputs: Mapping[str, int]) -> bool:
    return find_model(config.model.model).projects and (len(inputs) > 1 or not any(inputs.values()))
