"""Wishes to stop: signals that are only noted, however many come, and a time limit."""

import os
import signal
import subprocess
import sys

import pytest

from mpignn import stop
from mpignn.comm.group import LocalGroup
from mpignn.errors import Stopped


@pytest.fixture(autouse=True)
def handlers():
    """Everything as it was, afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)}
    yield
    stop._wishes.clear()
    stop._interrupted_at.clear()
    stop._heard_by_hand[0] = False
    stop.limit(None)
    for number, handler in before.items():
        signal.signal(number, handler)


def check_stops(wish, exit_code):
    """Something wishes to stop, and a look at the wishes ends all ranks with an exit code."""
    assert stop.wish() == wish
    with pytest.raises(Stopped) as found:
        stop.check(LocalGroup())
    assert found.value.exit_code == exit_code and found.value.agreed


def test_signals_are_noted_however_often_they_come():
    stop.listen()
    assert stop.wish() is None
    stop.check(LocalGroup())
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
    check_stops("SIGTERM", 75)


def test_an_interrupt_gives_the_exit_code_of_shells_and_comes_twice_of_one_key_press():
    stop.listen()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
    check_stops("SIGINT", 130)


def test_where_all_hear_of_one_interrupt_all_give_its_exit_code():
    assert not stop.heard(0) and stop.heard(1) and stop.stopped("x").exit_code == 75
    assert stop.heard(3 + stop._BY_HAND) and stop.stopped("x").exit_code == 130


def test_a_shell_that_ignores_sigint_for_a_job_is_obeyed():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop.listen()
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.wish() is None


def test_a_time_limit_is_a_wish_once_it_is_over():
    stop.limit(1000)
    assert stop.wish() is None
    stop.limit(0)
    assert stop.wish() == "--time-limit"
    stop.limit(None)
    assert stop.wish() is None


@pytest.mark.parametrize("early", [True, False])
def test_a_command_that_does_not_train_ends_by_a_signal(early):
    """Also by one that came before it was known what the command is."""
    kill = "os.kill(os.getpid(), signal.SIGTERM)\n"
    program = (f"import os, signal\nfrom mpignn import cli, stop\nstop.listen()\n{kill if early else ''}"
               f"def info(arguments):\n    {kill}    print('alive')\n"
               "cli._COMMANDS['info'] = *cli._COMMANDS['info'][:2], info\nraise SystemExit(cli.main(['info']))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "", "mpignn: terminated\n")
