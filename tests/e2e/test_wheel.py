"""What others install: a wheel, made of the source distribution, in an environment of its own, far from the sources."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from mpirun import ROOT, run

BIN = Path(sys.executable).parent
SMALL = ("--hidden", "8", "--epochs", "1", "--fanouts", "3,3", "--global-batch-size", "20000")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The source distribution and the wheel."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for folder in "src", "data":
        shutil.copytree(ROOT / folder, source / folder, symlinks=True,
                        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in filter(Path.is_file, ROOT.iterdir()):
        shutil.copy(file, source)
    done = run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source], timeout=300, fresh=True)
    assert done.returncode == 0, done
    (archive,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """Python of an environment with the wheel; all other packages are those of the tests."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    (site,) = venv.glob("lib/python*/site-packages")
    done = run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", built[1]],
               env={"PYTHONPATH": ""})
    assert done.returncode == 0, done
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_both_pass_the_check_of_the_package_index(built):
    done = run([BIN / "twine", "check", "--strict", *built], fresh=True)
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done


def test_the_wheel_holds_what_jobs_read_the_licences_and_nothing_else(built):
    files = zipfile.ZipFile(built[1]).namelist()
    for name in ("py.typed", "data/wordnet/wordnet.npz", "data/wordnet-link/job.toml", "report/page.css"):
        assert f"mpignn/{name}" in files
    assert [name for name in files if name.endswith("licenses/LICENSE")]
    assert {name.partition("/")[0].partition("-")[0] for name in files} == {"mpignn"}


def test_one_version_is_said_everywhere(built):
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    version = settings["metadata"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()
    assert [path.name for path in built] == [f"mpignn-{version}.tar.gz", f"mpignn-{version}-py3-none-any.whl"]


def test_jobs_run_with_the_wheel_elsewhere(built, installed, tmp_path, request):
    alone = {"PYTHONPATH": "", "LD_LIBRARY_PATH": str(BIN.parent / "lib")}       # where MPI lies
    place = run([installed, "-c", "import mpignn; print(mpignn.__file__)"], cwd=tmp_path, env=alone)
    assert place.stdout.startswith(str(installed.parents[1])), place
    told = run([installed.with_name("mpignn"), "--version"], cwd=tmp_path, env=alone)
    assert told.stdout.split()[1] in built[1].name, told
    told = run([BIN / "mpirun", "-np", "2", installed, "-m", "mpignn", "info"], cwd=tmp_path, env=alone)
    assert told.returncode == 0 and f"mpignn      {built[1].name.split('-')[1]}" in told.stdout, told
    if request.config.getoption("--soak"):      # kernels are compiled anew for it
        done = run([BIN / "mpirun", "-np", "2", installed, "-m", "mpignn", *SMALL], cwd=tmp_path, timeout=600,
                   env=alone)
        assert done.returncode == 0, done
        assert list(tmp_path.glob("runs/*/metrics.jsonl"))
