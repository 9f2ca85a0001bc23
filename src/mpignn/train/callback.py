"""What a user's program is told while `mpignn.fit` trains, and how it ends training."""

from collections.abc import Mapping
from typing import Any

from mpignn.shown import Shown

Event = Mapping[str, Any]


class Callback(Shown):
    """Told of what happens in a run; derive from it, and override what is of interest.

    Each method is called on all trainers at the same place, so that one may itself be collective, if all trainers have
    been given it.  Each is handed one event, by name of field.  ``seconds`` and what ends in ``_s`` is as this trainer
    measured it; all else is equal on all trainers.  None stands for what was not measured.

    After a resume the values are those of a run that was never stopped; what was told after the checkpoint that is gone
    on from is told again.  What a callback itself remembers is in no checkpoint.

    An exception on one trainer ends the job with its traceback.

    Attributes:
        done: Set it, on any trainer, to end training: after at most one more step no other is made on any trainer.  The
            pass under way then is the last: it is validated, the best parameters are tested, and `fit` returns.
    """

    done = False

    def step(self, event: Event) -> None:
        """An optimizer step is done.

        ``epoch`` and ``step``: the pass, and the number of the step in it, from 0.  ``loss``: mean over the global
        batch, before the step.  ``seconds``.
        """

    def eval(self, event: Event) -> None:
        """A split was measured: val after passes, and test when no pass is left.

        ``split``.  ``epoch``: after which pass the parameters were as they are now.  ``<split>_<metric>`` for each
        metric of the task.  ``is_best``, of val: whether the first of them is better than ever before.
        """

    def epoch(self, event: Event) -> None:
        """A pass is done and, where that was due, validated.

        The fields of the line ``epoch`` in ``metrics.jsonl``; ``seeds_per_trainer``, ``trainers`` and ``moved`` are of
        this job alone, and equal on all trainers.
        """

    def checkpoint(self, event: Event) -> None:
        """A checkpoint is on the disk.

        ``path``: its folder.  ``epoch``: the pass in which a run goes on from it.  ``steps``: how many are done.
        """

    def stop(self, event: Event) -> None:
        """Training is over, or this job was asked to stop (`fit` then raises `Stopped`).

        ``finished``: False where the run is to go on in another job.  ``val_<metric>``: the best until now.
        ``test_<metric>``: None where not finished.  ``epochs``: how many are done.  ``seconds``: of the run.
        """
