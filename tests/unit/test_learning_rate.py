"""The course of the learning rate is that of torch's schedules."""

import pytest
import torch

from mpignn.train.learning_rate import rate
from mpignn.train.optimizer import FlatParameters


def torchs(make, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(("name", "make"), [
    ("constant", lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)),
    ("linear", lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 20)),
    ("cosine", lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)),
])
def test_after_the_warm_up(name, make):
    assert [rate(name, step, 20, 0) for step in range(20)] == pytest.approx(torchs(make, 20))
    assert [rate(name, step, 25, 5) for step in range(5, 25)] == pytest.approx(torchs(make, 20))


def test_the_warm_up_rises_evenly_to_the_whole_rate():
    assert [rate("cosine", step, 30, 4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_gradient_is_clipped_as_in_torch():
    torch.manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.ones(3))] for _ in range(2))
    flat = FlatParameters(ours)
    for longest in (0.5, 100.0):
        gradients = torch.randn(4), torch.randn(3)
        for p, q, gradient in zip(ours, theirs, gradients, strict=True):
            p.grad.copy_(gradient)
            q.grad = gradient.clone()
        flat.clip(longest)
        torch.nn.utils.clip_grad_norm_(theirs, longest)
        for p, q in zip(ours, theirs, strict=True):
            torch.testing.assert_close(p.grad, q.grad)
