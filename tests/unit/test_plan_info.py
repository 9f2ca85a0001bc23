"""Flags of `info` that do nothing are refused, and words of any command that say nothing."""

import pytest

from mpignn import cli
from mpignn.cli import main
from mpignn.errors import ConfigError
from mpignn.storage.write import partition_graph


@pytest.mark.parametrize(("words", "told"), [
    (["g", "--hidden", "3"], "--hidden has no effect without --plan"),
    (["--batch-size", "3"], "--batch-size has no effect without --plan, nor without a graph and --fanouts"),
    (["g", "-np", "3"], "-np has no effect without --plan"),
    (["--nodes", "1"], "--nodes has no effect without --plan"),
    (["g", "--config", "job.toml"], "--config has no effect without --plan"),
    (["--plan", "--hidden", "3"], "info GRAPH --plan")])
def test_settings_are_for_a_plan_alone(words, told, capsys):
    assert main(["info", *words]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("mpignn: error:") == 1 and told in err


COMMANDS = {command: cli._subparser(cli._parser(), command) for command in cli._COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_word_is_an_error_and_not_the_current_folder(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("")       # as that of a run would be there
    actions = [action for action in COMMANDS[command]._actions if action.nargs != 0]
    places = [action for action in actions if not action.option_strings]
    needed = [word for action in actions if action.required and action.option_strings
              for word in (action.option_strings[0], "x")]
    for number in range(len(places)):
        assert main([command, *("" if i == number else "x" for i in range(len(places))), *needed]) == 2
        assert "empty" in capsys.readouterr().err
    for flag in (action.option_strings[-1] for action in actions if action.option_strings):
        assert main([command, *("x" for _ in places), *needed, f"{flag}="]) == 2, flag
        assert capsys.readouterr().err.count("mpignn: error:") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_an_empty_path_of_a_program_is_refused_too():
    for source, out in (("", "out"), ("wordnet", "")):
        with pytest.raises(ConfigError, match="is empty: give a path"):
            partition_graph(source, out, 2)
