"""The folder of this job's run: found or made, claimed, filled, and left as it was where the job comes to nothing."""

import errno
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpignn.config import CONFIG, HANG, JOBS, METRICS, Config
from mpignn.errors import ConfigError, DataError, MpignnError, ResourceError, os_errors
from mpignn.files import almost_named
from mpignn.job import runs
from mpignn.json_text import to_json
from mpignn.storage import claim
from mpignn.storage.forms.tables import is_tables
from mpignn.storage.schema import GRAPH_FILE

log = logging.getLogger(__name__)

_ACCESS = "access.json"
_FILLED = (CONFIG, _ACCESS, JOBS)       # before training
_BUNDLED = "bundled-graph"      # in a run folder, the partitions of a bundled data set
_OF_TABLES = "graph-of-tables"  # of tables, as long as the job goes on


@dataclass(frozen=True)
class NewTables:
    """What a job makes of graphs that are tables.

    Attributes:
        like: Says, for some tables, which graph they become like; or raises what keeps the job from using them.
        on_unknown: As `mpignn.storage.write.partition_graph` takes it.
    """

    like: Callable[[Path], Path]
    on_unknown: str | None = None


class RunFolder:
    """A run folder that this job has claimed.  The first rank makes it and sends it to all.

    Attributes:
        path: The folder.
        kept: The same; None: the job keeps nothing, or the folder cannot be written and the job does without.
        claim_name: Name of the claim, if it is kept.
        made: Folders that this job has made for it, the outermost first.
        graphs: The partitioned graphs of the job.
    """

    def __init__(self, config: Config, names: Sequence[str], num_servers: int, tables: NewTables | None = None,
                 may_lack: bool = False, keeps: bool = True) -> None:
        """Find or make the folder, and find the graphs; those that are bundled or tables are cut for this job.

        Not collective.

        Args:
            config: Settings of the job.
            names: Its graphs.
            num_servers: Servers that share a graph.
            tables: What becomes of graphs that are tables; None: they are none that the job can use.
            may_lack: Whether the job can do without a folder that cannot be written; a warning says that it does.
            keeps: Whether the job has one at all; one that it could not have is an error all the same.

        Raises:
            ConfigError: It is another job's, or holds another run; or no graph is given.
            DataError: There is no run to go on with; or what tables hold cannot become a graph like another.
            ResourceError: It cannot be written.
        """
        from mpignn.storage.datasets import bundled_names
        if not names:
            raise ConfigError("no graph is given")
        self.made: tuple[Path, ...] = ()
        self.number = 0
        self._temporary: Path | None = None
        self.kept: Path | None = None
        asked, resumes = config.train.run_dir, config.checkpoint.resume is not None
        problem = _problem(Path(asked)) if may_lack and asked else None
        if not keeps:
            self.path = Path(asked or ".")
            if asked and not resumes:
                _refuse_other_run(self.path)
        elif asked and problem:
            self.path = Path(asked)
            log.warning("%s cannot be written (%s): this job keeps nothing there", asked, problem)
        else:
            self.path, missing = _find_or_make(config, names[0])
            self.kept, self.made = self.path, tuple(missing)
            self.claim_name = self._claim(resumes)
        bundled = bundled_names()
        self.graphs: list[Path] = []
        try:
            for number, name in enumerate(names):
                path = Path(name)
                if name in bundled:
                    path = self._place() / f"{_BUNDLED}-{number}"
                    _partition_bundled(name, path, num_servers)
                elif tables is not None and is_tables(path):
                    if config.world.stage is not None:
                        raise ConfigError(f"--stage has no effect, since {name} is tables, whose graph is read "
                                          "once: leave it out")
                    path = self._place() / f"{_OF_TABLES}-{number}"
                    _partition_tables(Path(name), path, num_servers, tables)
                elif not path.exists() and (meant := almost_named(path, bundled)):
                    raise DataError(f"{name}: no such file or folder{meant}")
                elif tables is not None and tables.on_unknown is not None:
                    raise ConfigError(f"--on-unknown has no effect, since {name} is no tables: leave it out")
                self.graphs.append(path)
        except BaseException:
            self.discard()
            raise

    @contextmanager
    def held(self) -> Iterator[None]:
        """Give it back when all is done, or an error that all ranks share ends it.  Not collective.

        A job that is aborted gives back what it has from any rank, since the one that made the claim may not come to
        it.
        """
        if self.kept is None:
            yield
            return
        mine = claim.share(self.path, self.claim_name)
        try:
            yield
        except BaseException as error:
            if mine.is_own or isinstance(error, MpignnError) and error.agreed:
                mine.leave()
            raise
        mine.leave()

    def fill(self, config: Config, access: Mapping[str, Any] | None, job: Mapping[str, Any]) -> None:
        """Write what is known before training, now that the graph is good, if the folder is kept.  Not collective.

        Args:
            config: Settings of the job.
            access: What was measured to choose ways to rows of other nodes; None: nothing.
            job: What the job tells of itself; becomes a line behind those of the jobs that this one goes on after.

        Raises:
            ResourceError: It cannot be written.
        """
        if self.kept is None:
            return
        with os_errors(ResourceError, f"{self.path}: cannot write the run folder"):
            if config.checkpoint.resume is None or not (self.path / CONFIG).exists():
                config.write(self.path)
            if access is not None:
                (self.path / _ACCESS).write_text(to_json(access, 1) + "\n", encoding="utf-8")
            (self.path / HANG).unlink(missing_ok=True)      # of an earlier job
            goes_on = config.checkpoint.resume is not None
            with (self.path / JOBS).open("a" if goes_on else "w", encoding="utf-8") as file:
                file.write(to_json(job) + "\n")
        log.info("run folder %s; its config.toml has all settings", self.path)

    def clear(self) -> None:
        """Remove the graphs that only this job needed; nobody may read them any more.  Not collective."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        if self.kept is not None:
            _remove(self.path, _OF_TABLES)

    def discard(self) -> None:
        """Remove what this job has made so far: graphs that it cut for itself, its claim, and folders that are empty.

        What `fill` has written goes, too, where the job made the folder and nothing else is in it.  Not collective.
        """
        self.clear()
        if self.kept is None:
            return
        _remove(self.path, _BUNDLED)
        claim.share(self.path, self.claim_name).withdraw()
        if self.path in self.made and {path.name for path in self.path.iterdir()} <= set(_FILLED):
            for name in _FILLED:
                (self.path / name).unlink(missing_ok=True)
        _remove_empty(self.made)

    def _place(self) -> Path:
        """Where graphs are made: the folder, or a temporary one in its stead, as long as the job goes on."""
        if self.kept is not None:
            return self.kept
        if self._temporary is None:
            with os_errors(ResourceError, "cannot make a temporary folder for a graph", ": name one by TMPDIR"):
                self._temporary = Path(tempfile.mkdtemp(prefix="mpignn-run-"))
            log.info("%s has the graph as long as this job goes on; all its nodes must see it, else name another place "
                     "by TMPDIR", self._temporary)
        return self._temporary

    def _claim(self, resumes: bool) -> str:
        """Claim the folder; returns the name of the claim."""
        try:
            mine = claim.take(self.path)
        except MpignnError:
            _remove_empty(self.made)
            raise
        try:
            if not resumes:
                _refuse_other_run(self.path)
        except ConfigError:
            mine.withdraw()
            raise
        _remove(self.path, _BUNDLED, _OF_TABLES)
        return mine.path.name


def _refuse_other_run(path: Path) -> None:
    if (path / METRICS).exists():
        raise ConfigError(f"{path} holds the metrics of another run: go on with it by --resume, give another "
                          "--run-dir, or remove it")


def _problem(path: Path) -> str | None:
    """What keeps this job from writing into a folder, which is there or can be made; None: nothing."""
    place = path
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return None         # which is another error
    try:
        tempfile.TemporaryFile(dir=place).close()
        if place == path:
            for entry in path.iterdir():        # of others, in a folder that all may write
                if not os.access(entry, os.W_OK) and entry.exists():
                    raise OSError(errno.EACCES, f"{entry.name}: {os.strerror(errno.EACCES)}")
    except OSError as error:
        return error.strerror
    return None


def _find_or_make(config: Config, graph: str) -> tuple[Path, list[Path]]:
    """The folder of the run to go on with, the one asked for, or one that no other job has; and what was made of it."""
    asked = config.train.run_dir
    run = runs.resumed_run(config.checkpoint.resume, asked, graph)
    if run is not None:
        asked = str(run)
    base = Path("runs") / f"{runs.run_name(graph)}-{time.strftime('%Y%m%d-%H%M%S')}"
    tries = [Path(asked)] if asked else [base, *(base.with_name(f"{base.name}-{n}") for n in range(1, 1000))]
    for path in tries:
        if (path / GRAPH_FILE).exists():
            raise ConfigError(f"{path} is a partitioned graph, and no place for a run: give another --run-dir")
        missing = [folder for folder in (*reversed(path.parents), path) if not folder.exists()]
        with os_errors(ResourceError, f"{path}: cannot make the run folder"):
            try:
                path.mkdir(parents=True, exist_ok=asked is not None)
            except FileExistsError:
                continue
        return path, missing
    raise ConfigError(f"{tries[0]} is no folder: give another --run-dir")


def _partition_bundled(name: str, out: Path, num_servers: int) -> None:
    from mpignn.storage.datasets import load_bundled
    from mpignn.storage.write import partition_graph
    log.info("partitioning the bundled data set %s for %d servers", name, num_servers)
    partition_graph(load_bundled(name), out, num_servers)


def _partition_tables(source: Path, out: Path, num_servers: int, tables: NewTables) -> None:
    from mpignn.storage.write import partition_graph
    like = tables.like(source)
    log.info("making a graph of %s for %d servers, like %s", source, num_servers, like)
    partition_graph(source, out, num_servers, on_unknown=tables.on_unknown, like=like)


def _remove(path: Path, *kinds: str) -> None:
    """Remove the graphs of some kinds that a job has made in its run folder, and what one left that was killed."""
    for kind in kinds:
        for graph in (*path.glob(f"{kind}-*"), *path.glob(f".{kind}-*.partial-*")):
            shutil.rmtree(graph)
        for assigned in path.glob(f".{kind}-*.assigned.npz"):
            assigned.unlink()


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, the innermost first, up to one that has something in it."""
    for folder in reversed(folders):
        if any(folder.iterdir()):
            return
        folder.rmdir()
