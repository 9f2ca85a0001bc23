"""How far work is, as a bar, lines or not at all; and where standard output ends up."""

import os

import pytest

from mpignn import progress, say, terminal
from mpignn.log import phase
from mpignn.progress import BYTES, Count, Display, counted, each


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines():
    """A display of which a test looks itself."""
    shown = Display()
    shown._how = "lines"
    return shown


def passing(clock, display: Display, seconds: float) -> None:
    """Let the time pass, with a look now and then."""
    end = clock[0] + seconds
    while clock[0] < end:
        clock[0] += 0.5
        display.look()


def test_a_phase_of_which_nothing_is_counted_tells_how_long_it_takes(clock, lines, capsys):
    say.tell("before")
    with phase("import torch"):
        passing(clock, lines, 7)
    assert capsys.readouterr().out.splitlines() == ["before", *(f"import torch: {n} s so far" for n in (2, 4, 6))]


def test_nothing_is_told_where_enough_is_said(clock, lines, capsys):
    for _ in range(10):
        say.tell("a line of the command")
        passing(clock, lines, 1.5)
    assert capsys.readouterr().out == "a line of the command\n" * 10


def test_things_that_are_counted_have_a_share_a_rate_and_an_end(clock, lines, capsys):
    say.tell("before")
    with counted("write edges", 60_000) as advance:
        for _ in range(3):
            clock[0] += 5
            advance(10_000)
        lines.look()
    with counted("load graph", 4_000_000_000, BYTES) as advance:
        clock[0] += 2
        advance(1_000_000_000)
        lines.look()
    assert capsys.readouterr().out.splitlines()[1:] == [
        "write edges: 30,000 of 60,000 (50 %), 2,000 a second, 0:00:15 left",
        "load graph: 1,000.0 of 4,000.0 MB (25 %), 500 MB a second, 0:00:06 left"]


def test_steps_go_on_where_an_earlier_job_has_stopped(clock):
    steps = Count(400, done=200, unit="step")
    steps.begin()
    with phase("epoch 3"):
        for _ in range(10):
            clock[0] += 1
            steps.advance(facts="loss 0.5321")
        assert progress.text() == "epoch 3: step 210 of 400 (52 %), 1.0 a second, loss 0.5321, 0:03:10 left"
        with phase("write checkpoint"):
            clock[0] += 4
            assert progress.text() == ("write checkpoint: 4 s so far; step 210 of 400 (52 %), 1.0 a second, "
                                       "loss 0.5321, 0:03:09 left")
        with phase("evaluate val"):
            for batch in each(range(10), "batch"):
                clock[0] += 1
                if batch == 5:
                    assert progress.text().startswith("evaluate val: batch 5 of 10 (50 %), 1.0 a second, 0:00:04 left; "
                                                      "step 210 of 400")
    steps.end()
    assert progress.text().endswith("s so far")


def test_a_bar_is_drawn_over_itself_and_makes_room_for_lines(clock, lines, capsys):
    lines._how, lines._columns = "bar", 100
    with counted("load graph", 100) as advance:
        for _ in range(50):
            clock[0] += 1
            advance(1)
            lines.look()
        say.tell("a line")
    text = capsys.readouterr().out
    assert text.count("\n") == 1 and text.endswith("\r\x1b[Ka line\n")
    last = text.split("\r\x1b[K")[-2]
    assert "] load graph: 50 of 100 (50 %), 1.0 a second, 0:00:50 left, " in last and last.endswith(" GB")
    assert last.count("#") == last.count(".", 0, last.index("]")) and max(map(len, text.split("\r\x1b[K"))) < 100


def test_a_line_that_is_drawn_gives_way_to_an_error(lines, capsys):
    lines._how = "bar"
    lines.look()
    say.complain("something")
    shown = capsys.readouterr()
    assert shown.out.endswith("\r\x1b[K") and shown.err == "mpignn: something\n"


def test_a_thread_tells_what_work_does_that_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_LOOK_S", 0.01)
    monkeypatch.setattr(progress, "_QUIET_S", 0.05)
    shown = Display()
    shown.begin_command(["info"])
    try:
        with phase("work"):
            progress.time.sleep(0.5)
    finally:
        shown.end_command()
    said = capsys.readouterr()
    assert said.err.count("work: 0 s so far\n") >= 3 and said.out == ""
    progress.time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_none_says_nothing_and_auto_says_lines_where_no_terminal_is(monkeypatch):
    shown = Display()
    shown.show("none")
    assert not shown.is_on
    monkeypatch.setattr(terminal, "columns", lambda stream: None)
    shown.show("auto")
    assert shown.is_on and shown._how == "lines"
    shown.hide()
    assert not shown.is_on


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
        assert terminal.columns(proc=processes(tmp_path / "a", launcher, name)) == 80
        assert terminal.columns(proc=processes(tmp_path / "b", [*launcher, "--output", "file=x"], name)) is None
        assert terminal.columns(proc=processes(tmp_path / "c", launcher, str(tmp_path / "c" / "8" / "stat"))) is None
        assert terminal.columns(proc=processes(tmp_path / "d", launcher, "/gone")) is None
        assert terminal.columns(proc=processes(tmp_path / "e", ["slurmstepd"], name)) is None
        monkeypatch.setenv("TERM", "dumb")
        assert terminal.columns(proc=tmp_path / "a") is None
    finally:
        os.close(master)
        os.close(slave)
