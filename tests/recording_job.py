"""A training job that also writes down, on every trainer, what each step drew.

    mpirun -np N python recording_job.py FOLDER ARGUMENTS OF mpignn...

FOLDER/trainer-R.npz gets, for each training step S and hop H, the arrays of `canonical_rows`, as
``S/H/etype``, ``S/H/dst`` and so on.
"""

import sys
from pathlib import Path

import numpy as np


def main() -> int:
    folder = Path(sys.argv[1])
    from mpignn.loader.node import NodeDataLoader
    from mpignn.sampling.canonical import canonical_rows
    from mpignn.store.graph import published_graph
    from recorded import arrays_of

    recorded: dict[str, np.ndarray] = {}
    iterate = NodeDataLoader.__iter__

    def recording(self):
        for step, batch in enumerate(iterate(self)):
            if self.plan.shuffle:       # training; evaluation goes through the seeds in order
                for hop, block in enumerate(reversed(batch[2])):
                    rows = canonical_rows(published_graph(self._g), block, hop)
                    recorded.update(arrays_of(rows, f"{self._epoch}.{step}"))
            yield batch
        np.savez(folder / f"trainer-{self._g.trainers.rank}.npz", **recorded)

    NodeDataLoader.__iter__ = recording
    from mpignn.cli import main
    return main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
