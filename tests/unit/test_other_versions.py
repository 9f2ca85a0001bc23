"""What an earlier version of the program has written is told apart from damage, and its version is named."""

import dataclasses
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from blocks import HETERO, SCHEMA
from mpignn.comm.group import LocalGroup
from mpignn.config import CHECKPOINTS, TRAINED, Config, ModelConfig
from mpignn.job import runs
from mpignn.job.settings import configure_training
from mpignn.models import MODELS, takes_types
from mpignn.nn.models import make_model
from mpignn.storage import snapshot
from mpignn.storage.arrays import ArrayType
from mpignn.train import checkpoint
from mpignn.train.compatibility import check_run
from mpignn.train.loop import Position
from mpignn.train.tasks.goal import Goal
from mpignn.train.trained_model import TrainedModel, read_trained
from older import OLD, as_of

TOLD = r"is of format mpignn-checkpoint/1, written by mpignn 0\.0\.9; this is mpignn .*: use the version that wrote it"
WRITTEN = {"mpignn-checkpoint/7": "2f995e7b8fe283d5"}


def write(folder: Path, step: int) -> Path:
    out = folder / snapshot.name_of(step)
    with snapshot.new(out) as partial:
        manifest = snapshot.begin(partial, out, {"x": ArrayType((0,), np.dtype(np.float32))})
        snapshot.complete(partial, manifest, [], step, {"settings": {}})
    return out


def old_run(folder: Path) -> Path:
    """A run of which the newest checkpoint is of another version; the one before it would do."""
    write(folder / CHECKPOINTS, 1)
    as_of(write(folder / CHECKPOINTS, 2), OLD, "mpignn 0.0.9")
    (folder / "config.toml").write_text("[model]\nwidth_of_old = 3\n")
    return folder


@pytest.mark.parametrize("read", [
    runs.check_version,
    read_trained,
    lambda run: configure_training(None, {"resume": str(run)}),
    lambda run: checkpoint.latest(run / CHECKPOINTS),
    lambda run: check_run(run / CHECKPOINTS / snapshot.name_of(2), {}, "g"),
    lambda run: checkpoint.load(run / CHECKPOINTS, SimpleNamespace(trainers=LocalGroup()))])
def test_whoever_reads_it_is_told_which_version_wrote_it(read, tmp_path):
    with pytest.raises(snapshot.OtherFormat, match=TOLD) as found:
        read(old_run(tmp_path / "run"))
    assert found.value.exit_code == 3


def test_the_network_of_a_run_is_looked_at_too(tmp_path):
    as_of(write(tmp_path / TRAINED, 0), OLD, None)
    with pytest.raises(snapshot.OtherFormat, match="written by a version of mpignn that does not say which"):
        runs.check_version(tmp_path)


def test_a_damaged_one_is_left_to_who_reads_it(tmp_path):
    (write(tmp_path / CHECKPOINTS, 1) / snapshot.MANIFEST).write_bytes(b"torn")
    runs.check_version(tmp_path)


def test_whoever_changes_what_checkpoints_hold_gives_them_another_number(tmp_path):
    """The names of all that a checkpoint of a training job holds, of its settings, and of the models' parameters."""
    names = {name: [f.name for f in dataclasses.fields(kind)]
             for name, kind in {"Position": Position, "Goal": Goal, "Trained": TrainedModel}.items()}
    said = json.loads((write(tmp_path, 1) / snapshot.MANIFEST).read_bytes())["checkpoint"]
    names["Manifest"] = [name for name in said if name not in ("schema", "writer")]
    names["StoredArray"] = list(said["arrays"]["x"])
    names["settings"] = sorted(Config().what_counts(1))
    for name, model in MODELS.items():
        for schema in (SCHEMA, HETERO) if takes_types(model) else (SCHEMA,):
            config = ModelConfig(model=name, hidden=8, combine="attention")
            made = make_model(config, schema, dict.fromkeys(schema.ntypes, 3), 3, 2)
            names[f"{name} of {len(schema.etypes)}"] = sorted(made.state_dict())
    found = hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()[:16]
    assert {snapshot.SCHEMA: found} == WRITTEN, "raise the number of snapshot.SCHEMA, and record what it stands for"
