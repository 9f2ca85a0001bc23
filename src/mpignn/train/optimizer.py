"""Adam over all parameters as one flat vector.

`torch.optim` would serve, but its first use imports torch._dynamo and sympy: 1.4 s and 80 MB in every trainer
before the first step.

Shapes: P parameters, all entries counted.
"""

from collections.abc import Iterable

import torch

from mpignn.train.finite import is_finite


class FlatParameters:
    """The parameters of a model as views of one vector, and their gradients as views of another.

    Attributes:
        values: (P,) the parameters, in order.
        grad: (P,) their gradients; zeros where a parameter got none.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        parameters = [p for p in parameters if p.requires_grad]
        # A network may have none, and learn rows of nodes alone.
        self.values = torch.cat([p.detach().reshape(-1) for p in parameters]) if parameters else torch.empty(0)
        self.grad = torch.zeros_like(self.values)
        start = 0
        for p in parameters:
            stop = start + p.numel()
            p.data = self.values[start:stop].view_as(p)
            p.grad = self.grad[start:stop].view_as(p)
            start = stop

    def clip(self, longest: float) -> None:
        """Scale the gradient down to a Euclidean length, if it is longer.  Not collective."""
        self.grad *= min(1.0, longest / (float(self.grad.norm()) + 1e-6))


class Adam:
    """Adam: Kingma and Ba 2015, with the L2 penalty added to the gradient as `torch.optim.Adam` does."""

    def __init__(self, parameters: FlatParameters, lr: float, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        self._parameters = parameters
        self._lr, self._betas, self._eps, self._decay = lr, betas, eps, weight_decay
        self._mean = torch.zeros_like(parameters.values)
        self._square = torch.zeros_like(parameters.values)
        self._step = 0

    @property
    def steps(self) -> int:
        """How many it has made."""
        return self._step

    @torch.no_grad()
    def step(self, share: float = 1.0) -> None:
        """Update the parameters from their gradients, with a share of the learning rate.  Not collective."""
        values, grad = self._parameters.values, self._parameters.grad
        if self._decay:
            grad = grad.add(values, alpha=self._number(self._decay))
        first, second = self._betas
        self._step += 1
        self._mean.lerp_(grad, 1 - first)
        self._square.mul_(second).addcmul_(grad, grad, value=1 - second)
        spread = self._square.sqrt().div_((1 - second ** self._step) ** 0.5).add_(self._eps)
        values.addcdiv_(self._mean, spread, value=self._number(-share * self._lr / (1 - first ** self._step)))

    def is_finite(self) -> bool:
        """Whether all parameters and moments are: a moment that overflowed holds its parameter for ever.

        Not collective.
        """
        return all(map(is_finite, (self._parameters.values, self._mean, self._square)))

    def state(self) -> dict[str, torch.Tensor]:
        """Copies of its moments, and the number of steps.  Not collective."""
        return {"mean": self._mean.clone(), "square": self._square.clone(), "step": torch.tensor(self._step)}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` returned.  Not collective."""
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._step = int(state["step"])

    def _number(self, value: float) -> float:
        """A number as the parameters' type has it: torch refuses one that this type cannot hold."""
        return torch.tensor(value, dtype=self._parameters.values.dtype).item()
