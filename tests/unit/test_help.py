"""What the command line says of itself: help in two lengths, completion by a shell, and what may have been meant."""

import dataclasses
import re
import subprocess
import sys

import pytest

from mpignn import cli
from mpignn.config import MOST_USED, sections
from mpignn.files import almost_named
from mpignn.options import add_flags

SETTINGS = [option for _, kind in sections() for option in dataclasses.fields(kind) if option.name != "graph"]
OWN = ("--help", "--help-all", "--config", "--dry-run")      # of `train`, beside the settings
WITH_SETTINGS = ("train", "eval", "infer", "info")


def shown(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code in (0, None)
    return capsys.readouterr().out


def flags(text: str) -> set[str]:
    """The options that a help lists."""
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.M))


def test_help_of_train_is_a_screen_with_what_is_asked_for_most(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(capsys, "train", "--help")
    assert flags(text) == {*OWN, *("--" + name.replace("_", "-") for name in MOST_USED)}
    assert len(text.splitlines()) <= 45
    assert f"show {len(SETTINGS) - len(MOST_USED)} more options" in text


def test_help_all_has_every_setting_with_its_choices(capsys):
    text = shown(capsys, "train", "--help-all")
    assert flags(text) == {*OWN, *("--" + setting.name.replace("_", "-") for setting in SETTINGS)}
    told = {head.split()[0]: " ".join(entry.split()) for entry in re.split(r"^  (?=--)", text, flags=re.M)
            if (head := entry[:60]).startswith("--")}
    for setting in SETTINGS:
        for choice in setting.metadata["choices"] or ():
            assert choice in told["--" + setting.name.replace("_", "-")], (setting.name, choice)


@pytest.mark.parametrize("command", cli._COMMANDS)
def test_no_group_of_a_help_is_empty(command, capsys):
    for which in ("--help", "--help-all") if command in WITH_SETTINGS else ("--help",):
        text = shown(capsys, command, which)
        assert text.startswith(f"usage: mpignn {command}")
        groups = re.split(r"^(?=[a-z].*:\n)", text, flags=re.M)[1:]
        assert groups and all(re.search(r"^  \S", group.partition("\n")[2], re.M) for group in groups), text


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_is_told_every_command_and_setting(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*cli._COMMANDS, *(s.name.replace("_", "-") for s in SETTINGS)):
        assert word in script, word


@pytest.mark.parametrize(("words", "completed"), [
    (["tr"], {"train"}), (["train", "--fan"], {"--fanouts"}), (["eval", "--samp"], {"--sampled"}),
    (["train", "--link-loss", "s"], {"softmax"}), (["info", "--precision", "b"], {"bf16"})])
def test_bash_completes(words, completed, capsys, tmp_path):
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    line = " ".join(["mpignn", *words])
    done = subprocess.run(["bash", "-c", f"source ./script; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
                           'complete -p mpignn >/dev/null && _shtab_mpignn && echo "${COMPREPLY[@]}"'],
                          cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert set(done.stdout.split()) == completed, done


def test_completion_says_what_it_lacks(capsys, monkeypatch):
    assert cli.main(["completion", "fish"]) == 2
    assert "one of: bash, zsh, tcsh" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 2
    assert "pip install shtab" in capsys.readouterr().err


def test_names_that_are_almost_there_are_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("papers-graph", "cites.csv"):
        (tmp_path / name).mkdir()
    assert almost_named("paper-graph") == "; did you mean papers-graph?"
    assert almost_named(tmp_path / "paper-graph") == f"; did you mean {tmp_path / 'papers-graph'}?"
    assert almost_named("wordnets", ["wordnet", "cora"]) == "; did you mean wordnet?"
    assert almost_named("none/paper-graph") == almost_named("zzz") == ""
    for words in (["info", "paper-graph"], ["partition", "paper-graph", "out"], ["check", "paper-graph"]):
        assert cli.main(words) == 3
        assert "did you mean papers-graph?" in "".join(capsys.readouterr()), words
    assert cli.main(["eval", "paper-graph"]) == 2
    assert "did you mean papers-graph?" in capsys.readouterr().err
    (tmp_path / "nation.csv").touch()
    assert cli.main(["data", "nation"]) == 2
    assert "did you mean nations?" in capsys.readouterr().err


def test_what_is_used_most_is_among_the_settings():
    rare = add_flags(cli.Parser(prog="x"))
    assert sorted([*rare, *MOST_USED]) == sorted(["graph", *(setting.name for setting in SETTINGS)])
