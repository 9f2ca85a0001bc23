"""The models that a job can ask for by name."""

from torch import nn

from mpignn.errors import ConfigError
from mpignn.nn.mlp import MLP
from mpignn.nn.sage import GraphSAGE

MODELS = ("sage", "mlp")


def make_model(name: str, in_feats: int, hidden: int, num_classes: int, num_layers: int, dropout: float = 0.5,
               aggregator_type: str = "mean") -> nn.Module:
    """A model with parameters drawn from torch's generator: seed that first, equally on all ranks.  Not collective.

    Args:
        name: One of `MODELS`.
        in_feats, hidden, num_classes: Columns of the input, of each layer between, and of the output.
        num_layers: Layers.
        dropout: Chance of dropping an element between two layers.
        aggregator_type: For sage, as for `SAGEConv`.

    Raises:
        ConfigError: No such model or aggregator, no layer, or dropout is not a probability.
    """
    sizes = in_feats, hidden, num_classes, num_layers, dropout
    if name == "sage":
        return GraphSAGE(*sizes, aggregator_type)
    if name == "mlp":
        return MLP(*sizes)
    raise ConfigError(f"model {name!r} is not one of: {', '.join(MODELS)}")
