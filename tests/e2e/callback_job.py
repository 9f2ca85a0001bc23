"""A program whose trainers note all that `fit` tells them, each in a file of its own.

    mpirun -np N python callback_job.py GRAPH RUN_DIR silent | [ACT]...

silent: no callback is there.  ACT is WHAT:EVENT:EPOCH:STEP:TRAINER: what this trainer (-1: each) does when it is told
of that event: ``done``, ``raise``, ``signal`` (it is asked to stop) or ``evaluate``.  STEP is of steps alone.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import mpignn as mg


class Notes(mg.Callback):
    """Writes each event, and then acts."""

    def __init__(self, path: Path, me: int, acts: list[str], evaluate):
        self.path, self.me, self.evaluate = path, me, evaluate
        self.acts = [act.split(":") for act in acts]

    def note(self, kind, event):
        with self.path.open("a") as file:
            file.write(json.dumps({"event": kind, **event}) + "\n")
        place = [kind, str(event.get("epoch", "")), str(event.get("step", ""))]
        for what, *where, trainer in self.acts:
            if where == place and int(trainer) in (-1, self.me):
                getattr(self, f"do_{what}")()

    def do_done(self):
        self.done = True

    def do_raise(self):
        self.path.with_name("raised").write_text(repr(time.time()))
        raise RuntimeError("injected")

    def do_signal(self):
        os.kill(os.getpid(), signal.SIGUSR1)

    def do_evaluate(self):
        self.note("evaluated", self.evaluate())

    def step(self, event):
        self.note("step", event)

    def eval(self, event):
        self.note("eval", event)

    def epoch(self, event):
        self.note("epoch", event)

    def checkpoint(self, event):
        self.note("checkpoint", event)

    def stop(self, event):
        self.note("stop", event)


def main(g, world):
    config = mg.settings()
    task = mg.NodeClassification(g, config)
    network = mg.make_network(g, task, config)
    notes = Notes(Path(config.train.run_dir) / f"told-{g.trainers.rank}.jsonl", g.trainers.rank, sys.argv[3:],
                  lambda: mg.evaluate(g, network, task, config, "val"))
    mg.fit(g, network, task, config, callbacks=() if sys.argv[3:] == ["silent"] else [notes])


if __name__ == "__main__":
    mg.stop.listen()
    mg.run(main, graph=sys.argv[1], run_dir=sys.argv[2], resume="auto", fanouts=(3, 4), hidden=16, epochs=3, lr=0.01,
           global_batch_size=480, dropout=0.5, checkpoint_every=2, eval_every=2, embed="all", embed_dim=4)
