"""How far a run is, as a bar, lines or not at all; and where standard output ends up."""

import os

import pytest

from mpignn import progress, terminal
from mpignn.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def steps(shown: Progress, clock, count: int, seconds: float) -> None:
    for _ in range(count):
        clock[0] += seconds
        shown.advance()


def test_lines_tell_share_and_time_left_now_and_then(clock, capsys):
    steps(Progress("lines", total=400, done=200), clock, 100, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step 211 of 400 (52 %), 0:03:09 left"
    assert 5 <= len(lines) <= 9 and "\x1b" not in "".join(lines)


def test_things_that_come_by_the_thousand_have_a_rate(clock, capsys):
    shown = Progress("lines", 60_000, 0, "write edges:", rate=True)
    for _ in range(3):
        clock[0] += 5.0
        shown.advance(10_000)
    assert capsys.readouterr().out == "write edges: 30,000 of 60,000 (50 %), 2,000 a second, 0:00:15 left\n"


def test_a_bar_is_drawn_over_itself_and_makes_room_for_lines(clock, capsys):
    shown = Progress("bar", total=100, done=0)
    steps(shown, clock, 50, 1.0)
    shown.erase()
    shown.erase()
    text = capsys.readouterr().out
    assert "\n" not in text and text.endswith("0:00:50 left\r\x1b[K")
    assert "[" + "#" * 15 + "." * 15 + "] step 50 of 100 (50 %)" in text


def test_none_says_nothing_and_auto_says_lines_where_no_terminal_is(clock, capsys, monkeypatch):
    steps(Progress("none", total=400, done=0), clock, 400, 1.0)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(terminal, "columns", lambda: None)
    steps(Progress("auto", total=400, done=0), clock, 20, 1.0)
    assert "\x1b" not in capsys.readouterr().out


def processes(folder, launcher: list[str], stdout: str):
    """What the kernel shows of this process, a helper of the launcher, and the launcher."""
    for pid, parent, name in ((os.getpid(), 7, "python"), (7, 8, "hydra_pmi (x) y"), (8, 1, launcher[0])):
        (folder / str(pid) / "fd").mkdir(parents=True)
        (folder / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1")
        (folder / str(pid) / "comm").write_text(name + "\n")
    (folder / "8" / "cmdline").write_bytes(b"\0".join(word.encode() for word in launcher))
    (folder / "8" / "fd" / "1").symlink_to(stdout)
    return folder


@pytest.mark.parametrize("launcher", [["mpirun", "-np", "2"], ["mpiexec.hydra"], ["prterun"]])
def test_the_terminal_of_the_launcher_counts(tmp_path, monkeypatch, launcher):
    monkeypatch.setattr(terminal, "launched", lambda: True)
    monkeypatch.setattr(terminal, "_is_file", lambda handle: False)
    monkeypatch.setenv("TERM", "xterm")
    master, slave = os.openpty()
    try:
        name = os.ttyname(slave)
        assert terminal.columns(processes(tmp_path / "a", launcher, name)) == 80
        assert terminal.columns(processes(tmp_path / "b", [*launcher, "--output", "file=x"], name)) is None
        assert terminal.columns(processes(tmp_path / "c", launcher, str(tmp_path / "c" / "8" / "stat"))) is None
        assert terminal.columns(processes(tmp_path / "d", launcher, "/gone")) is None
        assert terminal.columns(processes(tmp_path / "e", ["slurmstepd"], name)) is None
        monkeypatch.setenv("TERM", "dumb")
        assert terminal.columns(tmp_path / "a") is None
    finally:
        os.close(master)
        os.close(slave)
