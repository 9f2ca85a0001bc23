"""The job without arguments: it learns, and reports what it did."""

import json
import tomllib

import pytest

from mpignn.options import load_config
from mpirun import mpirun, python, run

STEP = {"event", "epoch", "step", "loss", "seconds"}
EPOCH = {"event", "epoch", "loss", "val_acc", "seconds", "sample_s", "fetch_s", "compute_s", "sync_s", "seeds", "edges",
         "rows", "seeds_per_trainer", "trainers", "moved", "validate_s"}
FINAL = {"event", "val_acc", "test_acc", "epochs", "seconds"}


def job(folder, np_, *words, fresh=None):
    words = ["-m", "mpignn", *words]
    done = mpirun(words, np_, timeout=180, cwd=folder, fresh=fresh) if np_ > 1 else run([python(), *words], cwd=folder)
    assert done.returncode == 0, str(done)
    (run_dir,) = (folder / "runs").iterdir()
    return done, run_dir, [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_more_than_the_features_say(tmp_path):
    (tmp_path / "sage").mkdir()
    (tmp_path / "mlp").mkdir()
    done, run_dir, events = job(tmp_path / "sage", 3, fresh=True)
    _, _, baseline = job(tmp_path / "mlp", 1, "--model", "mlp")
    final = events[-1]
    assert final["test_acc"] >= 0.60
    assert final["test_acc"] >= baseline[-1]["test_acc"] + 0.25
    assert final["seconds"] < 180
    assert f"test accuracy {final['test_acc']:.4f}" in done.stdout
    assert run_dir.name in done.stdout

    steps, epochs = ([e for e in events if e["event"] == kind] for kind in ("step", "epoch"))
    assert all(set(e) == STEP for e in steps) and all(set(e) == EPOCH for e in epochs) and set(final) == FINAL
    assert [e["epoch"] for e in epochs] == list(range(final["epochs"]))
    assert final["val_acc"] == max(e["val_acc"] for e in epochs)
    for epoch in epochs:
        assert sum(epoch["seeds_per_trainer"]) == epoch["seeds"] == 11_765
        assert max(epoch["seeds_per_trainer"]) - min(epoch["seeds_per_trainer"]) <= len(steps) / len(epochs)
    parts = sum(e[key] for e in epochs for key in ("sample_s", "fetch_s", "compute_s", "sync_s"))
    assert parts == pytest.approx(sum(e["seconds"] for e in epochs), rel=0.05)

    settings = tomllib.loads((run_dir / "config.toml").read_text())
    assert settings["loader"]["global_batch_size"] == 1000
    assert load_config(run_dir / "config.toml", {}).to_toml() == (run_dir / "config.toml").read_text()
    assert "fanouts per hop: 10,10,10" in done.stderr
    assert "3 rank(s) on 1 node(s): 1 serve, 2 train" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("np_", [8, 1, 2, 4, 5, 6, 7])
def test_it_works_with_any_number_of_ranks(tmp_path, np_):
    _, _, events = job(tmp_path, np_, "--epochs", "1", "--hidden", "16", "--fanouts", "3,3,3")
    assert events[-1]["test_acc"] > 0.1
