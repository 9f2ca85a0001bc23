"""`info`: flags that do nothing are refused."""

import pytest

from mpignn.cli import main


@pytest.mark.parametrize(("words", "told"), [
    (["g", "--hidden", "3"], "--hidden has no effect without --plan"),
    (["--batch-size", "3"], "--batch-size has no effect without --plan"),
    (["g", "-np", "3"], "-np has no effect without --plan"),
    (["--nodes", "1"], "--nodes has no effect without --plan"),
    (["g", "--config", "job.toml"], "--config has no effect without --plan"),
    (["--plan", "--hidden", "3"], "info GRAPH --plan")])
def test_settings_are_for_a_plan_alone(words, told, capsys):
    assert main(["info", *words]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("mpignn: error:") == 1 and told in err
