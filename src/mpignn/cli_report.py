"""The command `report`: what came out of runs, as a page or as JSON."""

import argparse
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
    from mpignn.report.gather import gather
    from mpignn.report.page import make_page
    from mpignn.storage.atomic import check_file, new_file
    folders = [Path(run) for run in arguments.runs]
    out = Path(arguments.out) if arguments.out else folders[0] / _PAGE if len(folders) == 1 else Path(_PAGE)
    if out.suffix not in (".html", ".json"):
        raise ConfigError(f"--out {out}: its ending says what is written: .html or .json")
    found = gather(folders)
    if arguments.json:
        say.deliver(to_json(found, 1))
        if arguments.out is None:
            return 0
    check_file(out, [folder / name for folder in folders for name in (CONFIG, METRICS, JOBS)])
    text = to_json(found, 1) + "\n" if out.suffix == ".json" else make_page(found)
    with os_errors(ResourceError, str(out)), new_file(out) as file:
        file.write_text(text, encoding="utf-8")
    say.tell(f"wrote {out}", on_stderr=arguments.json)
    return 0
