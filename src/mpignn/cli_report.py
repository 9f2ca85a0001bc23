"""The command `report`: what came out of runs, as a page or as JSON."""

import argparse
from collections import Counter
from pathlib import Path

from mpignn import say
from mpignn.cli_data import refuse_mpirun
from mpignn.config import CONFIG, JOBS, METRICS
from mpignn.errors import ConfigError, ResourceError, os_errors

_PAGE = "report.html"


def report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a run; of several, what differs is shown")
    parser.add_argument("--out", metavar="FILE", help="page to write, .html, or .json with the same figures; replaced "
                        f"if it is there (default: {_PAGE} in RUN, or here where there are several)")
    parser.add_argument("--json", action="store_true", help="write the figures to standard output, and a page only if "
                                                            "--out names one")


def report(arguments: argparse.Namespace) -> int:
    refuse_mpirun("report")
    from mpignn.json_text import to_json
    from mpignn.report.figures import figures_of
    from mpignn.report.page import make_page
    from mpignn.report.read import read_run
    from mpignn.storage.atomic import check_file, new_file
    folders = [Path(run) for run in arguments.runs]
    out = Path(arguments.out) if arguments.out else folders[0] / _PAGE if len(folders) == 1 else Path(_PAGE)
    if out.suffix not in (".html", ".json"):
        raise ConfigError(f"--out {out}: its ending says what is written: .html or .json")
    runs = [read_run(folder) for folder in folders]
    figures = [figures_of(run, name) for run, name in zip(runs, _names(folders), strict=True)]
    if arguments.json:
        say.deliver(to_json({"runs": figures}, 1))
    if arguments.out is None and arguments.json:
        return 0
    check_file(out, [folder / name for folder in folders for name in (CONFIG, METRICS, JOBS)])
    text = to_json({"runs": figures}, 1) + "\n" if out.suffix == ".json" else make_page(figures)
    with os_errors(ResourceError, str(out)), new_file(out) as file:
        file.write_text(text, encoding="utf-8")
    if not arguments.json:
        say.tell(f"wrote {out}")
    return 0


def _names(folders: list[Path]) -> list[str]:
    """What runs are called: the last piece of their path, or all of it where several have the same."""
    last = [folder.resolve().name for folder in folders]
    often = Counter(last)
    return [name if often[name] == 1 else str(folder) for name, folder in zip(last, folders, strict=True)]
