"""A training job that also writes down, on every trainer, what each step drew.

    mpirun -np N python recording_job.py FOLDER ARGUMENTS OF mpignn...

`recorded.recorded` reads it from FOLDER.
"""

import sys
from pathlib import Path


def main() -> int:
    folder = Path(sys.argv[1])
    from mpignn.loader.node import NodeDataLoader
    from mpignn.sampling.canonical import CanonicalRows, canonical_rows
    from mpignn.store.graph import published_graph
    from recorded import record

    recorded: dict[str, CanonicalRows] = {}
    iterate = NodeDataLoader.__iter__

    def recording(self):
        for step, batch in enumerate(iterate(self)):
            if self.plan.shuffle:       # training; evaluation goes through the seeds in order
                for hop, block in enumerate(reversed(batch[2])):
                    recorded[f"{self._epoch}.{step}/{hop}"] = canonical_rows(published_graph(self._g), block, hop)
            yield batch
        record(folder, self._g.trainers.rank, recorded)

    NodeDataLoader.__iter__ = recording
    from mpignn.cli import main
    return main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
