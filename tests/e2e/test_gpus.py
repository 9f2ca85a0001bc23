"""Whole jobs on a GPU, against the same on the CPU; skipped where there is none."""

import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import pytest

from mpirun import mpirun, python, run

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def gpus():
    """How many there are."""
    import torch
    number = torch.cuda.device_count()
    if not number:
        pytest.skip("here is no GPU")
    return number


def train(graph: Path, run_dir: Path, *words: str, np: int = 1,
          program: Sequence[str] = ("-m", "mpignn")) -> list[dict]:
    """The events of a job that must end well, on GPUs without falling back to MPI."""
    words = [*program, "train", str(graph), "--run-dir", str(run_dir), "--precision", "fp64", "--hidden", "16",
             "--fanouts", "4,5", "--global-batch-size", "300", "--epochs", "2", "--dropout", "0.5", *words]
    done = mpirun(words, np, fresh=True) if np > 1 else run([python(), *words], fresh=True)
    assert done.returncode == 0 and "gradients go over MPI" not in done.stderr, str(done)
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def values(events: list[dict]) -> list[dict]:
    """What a run has learnt, without what it took."""
    return [{key: value for key, value in event.items() if key in ("loss", "val_acc", "test_acc", "val_mrr")
             and value is not None} for event in events]


@pytest.mark.parametrize("words", [
    ["--model", "sage"], ["--model", "gcn"], ["--model", "gat"], ["--model", "gatv2"], ["--model", "rgcn"],
    ["--aggregator", "pool", "--dropout", "0"],         # dropout makes rows equal, whose gradient torch shares out
    ["--embed", "all", "--embed-dim", "4"], ["--input-dropout", "0.3"]], ids=" ".join)
def test_a_job_learns_what_it_does_on_the_cpu(graphs, tmp_path, words):
    here = train(graphs["one"], tmp_path / "cpu", *words)
    there = train(graphs["one"], tmp_path / "cuda", *words, "--device", "cuda")
    assert len(here) == len(there)
    for expected, found in zip(values(here), values(there), strict=True):
        assert found == pytest.approx(expected, rel=1e-9)


def test_servers_beside_the_trainer_need_no_gpu(graphs, tmp_path):
    here = train(graphs["one"], tmp_path / "cpu", np=2)
    there = train(graphs["one"], tmp_path / "cuda", "--device", "cuda", np=2)
    for expected, found in zip(values(here), values(there), strict=True):
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_less_precise_jobs_learn_too(graphs, tmp_path, precision):
    words = ["--precision", precision, "--epochs", "5"]
    here = train(graphs["one"], tmp_path / "cpu", *words)
    there = train(graphs["one"], tmp_path / "cuda", *words, "--device", "cuda")
    assert there[0]["loss"] == pytest.approx(here[0]["loss"], rel=2e-2)
    assert there[-1]["test_acc"] == pytest.approx(here[-1]["test_acc"], abs=0.02)


@pytest.mark.parametrize(("before", "after"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_a_run_goes_on_on_another_device(graphs, tmp_path, before, after):
    words = ["--embed", "all", "--embed-dim", "4", "--epochs"]
    whole = train(graphs["one"], tmp_path / "whole", *words, "4")
    train(graphs["one"], tmp_path / "run", *words, "2", "--device", before)
    both = train(graphs["one"], tmp_path / "run", *words, "4", "--device", after, "--resume")
    both = [event for number, event in enumerate(both) if event["event"] != "final" or number == len(both) - 1]
    for expected, found in zip(values(whole), values(both), strict=True):
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sampled", [False, True])
def test_eval_and_infer(graphs, tmp_path, sampled):
    train(graphs["one"], tmp_path / "run", "--device", "cuda")
    found = {}
    for device in "cpu", "cuda":
        for what in ["eval"], ["infer"]:
            more = ["--device", device, *(["--sampled"] if sampled else [])]
            out = ["--out", str(tmp_path / f"{device}.h5")] if what == ["infer"] else []
            done = run([python(), "-m", "mpignn", *what, str(tmp_path / "run"), str(graphs["one"]), *out, *more],
                       fresh=True)
            assert done.returncode == 0, str(done)
        with h5py.File(tmp_path / f"{device}.h5") as file:
            found[device] = file["node/_N/logits"][:]
    assert found["cuda"] == pytest.approx(found["cpu"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("np", [1, 2])
def test_memory_that_does_not_suffice(graphs, tmp_path, np):
    import torch
    words = ["-m", "mpignn", "train", str(graphs["one"]), "--run-dir", str(tmp_path / "run"), "--device", "cuda",
             "--hidden", "6000", "--layers", "3", "--fanouts", "3,4,5"]
    taken = torch.empty(torch.cuda.mem_get_info()[0] - (1 << 30), dtype=torch.uint8, device="cuda")
    try:
        done = mpirun(words, np, fresh=True) if np > 1 else run([python(), *words], fresh=True)
    finally:
        del taken
        torch.cuda.empty_cache()
    text = done.stdout + done.stderr
    assert done.returncode == 4 and text.count("mpignn: error:") == 1 and "Traceback" not in text, str(done)
    assert np == 1 or "trainer 0/1 [world 1] failed in phase" in text, str(done)
    assert "CUDA out of memory" in text and "--batch-size" in text, str(done)


def test_trainers_without_a_gpu_each_are_refused(graphs, tmp_path, gpus):
    words = ["-m", "mpignn", "train", str(graphs["one"]), "--run-dir", str(tmp_path / "run"), "--device", "cuda",
             "--servers-per-node", "0"]
    done = mpirun(words, gpus + 1, fresh=True)
    assert done.returncode == 2 and "trainers before it have" in done.stdout + done.stderr, str(done)


@pytest.mark.parametrize("np", [2, 3])
def test_nccl(np):
    done = mpirun([str(HERE / "gpu_job.py")], np, fresh=True)
    assert done.returncode == 0, str(done)
    assert done.stdout.count("has checked NCCL") == np, str(done)


@pytest.mark.parametrize("words", [[], ["--servers-per-node", "0"], ["--ranks-per-node", "2", "--access", "owner"],
                                   ["--embed", "all", "--embed-dim", "4"]], ids=" ".join)
def test_trainers_sum_gradients_by_nccl(graphs, tmp_path, words):
    here = train(graphs["metis4"], tmp_path / "cpu", *words, np=4)
    there = train(graphs["metis4"], tmp_path / "cuda", *words, "--device", "cuda", np=4,
                  program=[str(HERE / "shared_gpu_job.py")])
    for expected, found in zip(values(here), values(there), strict=True):
        assert found == pytest.approx(expected, rel=1e-9)
