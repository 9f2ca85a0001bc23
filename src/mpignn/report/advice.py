"""What the figures of a run advise: rules, each with its figure and the threshold above which it speaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mpignn.report.figures import Figures, more_is_better
from mpignn.report.forms import memory, percent

Figure = Callable[[Figures], float | None]


@dataclass(frozen=True)
class Rule:
    """One piece of advice.

    Attributes:
        name: What it is about.
        figure: The figure of a run; None: it has none.
        above: The rule speaks where the figure is larger.
        text: What it says, given the run and the figure; options stand between backticks.
    """

    name: str
    figure: Figure
    above: float
    text: Callable[[Figures, float], str]


def advise(run: Figures) -> list[dict[str, Any]]:
    """What the rules say of a run, in their order: ``rule``, ``figure``, ``above`` and ``text``.  Not collective."""
    found = [(rule, rule.figure(run)) for rule in RULES]
    return [{"rule": rule.name, "figure": figure, "above": rule.above, "text": rule.text(run, figure)}
            for rule, figure in found if figure is not None and figure > rule.above]


def _share(name: str) -> Figure:
    """The part of the trainers' time that goes into something."""
    def share(run: Figures) -> float | None:
        trainers = run["trainers"]
        seconds = 0 if trainers is None else sum(trainers["seconds"])
        return float(sum(trainers[name]) / seconds) if seconds else None
    return share


def _diverged(run: Figures) -> float | None:
    return 1.0 if run["state"]["kind"] == "diverged" else None


def _waiting(run: Figures) -> str:
    tries = {"none": "`--replicate topology` keeps the structure on every node, and `--replicate all` all rows, if "
                     "memory allows it",
             "halo": "`--replicate topology` keeps the whole structure on every node, if memory allows it",
             "topology": "`--replicate all` keeps all rows on every node, if memory allows it", "all": ""}
    graphs = run["job"].get("graphs") or [{}]
    copies = tries[graphs[-1].get("replicate", "none")]
    cache = "" if "cache" in run["settings"] or not copies else "`--cache 10%` keeps the features that are read most"
    return "; ".join(filter(None, (copies, cache, "a larger `--prefetch` asks for the rows of more batches together")))


def _cut_like_random(run: Figures) -> float | None:
    """Feature rows of other nodes, as a part of those that it would be if nodes had the rows at random."""
    nodes = len(set(run["job"].get("node_of_rank", ())))
    rows = {target: sum(entry["rows"] for entry in run["moved"]
                        if entry["kind"] == "feature" and entry["target"] == target)
            for target in ("self", "node", "remote", "cache")}
    whole, away = sum(rows.values()), rows["remote"] + rows["cache"]
    return float(away / whole / (1 - 1 / nodes)) if nodes > 1 and whole else None


def _reducing(run: Figures) -> float | None:
    """The least part of a trainer's time that gradients take: what others wait for the slowest is not in it."""
    trainers = run["trainers"]
    if trainers is None or len(trainers["seconds"]) < 2 or not all(trainers["seconds"]):
        return None
    return min(float(sync / seconds) for sync, seconds in zip(trainers["sync_s"], trainers["seconds"], strict=True))


def _imbalance(run: Figures) -> float | None:
    balance = run["balance"]
    many = balance is not None and len(balance["busy_s"]) > 1
    found: float | None = balance["largest_to_mean"]["busy"] if many else None
    return found


def _uneven(run: Figures, figure: float) -> str:
    balance = run["balance"]
    told = f"Trainer {balance['slowest']} is busy {figure:.2f} times as long as the mean, and the others wait for it: "
    edges = balance["largest_to_mean"]["edges"] or 1
    if edges > 1.1:
        return told + (f"its batches are larger, up to {edges:.2f} times the mean of edges; `partition GRAPH OUT "
                       "--balance train,edges` cuts the graph more evenly")
    return told + ("all have about as many edges, so its core is slower or shared: look at what else runs on its "
                   "machine, and how ranks are bound to cores")


def _validating(run: Figures) -> float | None:
    result = run["result"]
    spent, training = result["validate_s"], result["training_s"]
    return None if spent is None or not training else float(spent / (spent + training))


def _still_better(run: Figures) -> float | None:
    """1 where the last of several epochs was the best."""
    result = run["result"]
    ended = run["state"]["kind"] == "finished" and result["epochs"] > 1 and result["best_epoch"] is not None
    return float(result["best_epoch"] == run["epochs"][-1]["epoch"]) if ended else None


def _past_best(run: Figures) -> float | None:
    """The part of the epochs that came after the best one, of at least six."""
    result = run["result"]
    if result["best_epoch"] is None or result["epochs"] < 6:
        return None
    return float((run["epochs"][-1]["epoch"] - result["best_epoch"]) / result["epochs"])


def _over_plan(run: Figures) -> float | None:
    """The largest quotient of what a trainer held and what was planned for it."""
    trainers = [] if run["memory"] is None else run["memory"]["trainers"]
    return max((float(of["used"] / of["planned"]) for of in trainers if of["used"] and of["planned"]), default=None)


def _over_plan_text(run: Figures, figure: float) -> str:
    most = max(run["memory"]["trainers"], key=lambda of: (of["used"] or 0) / of["planned"])
    return (f"Rank {most['rank']} held {memory(most['used'])} for itself, {figure:.2f} times the plan of "
            f"{memory(most['planned'])}: leave room for it, by `--batch-size` or fewer ranks on a node. A job that "
            "compiles kernels, as the first one of an installation, takes more than the next ones")


def _never_said(run: Figures) -> float | None:
    """How many classes that seeds have were never predicted."""
    if not run["classes"]:
        return None
    counts = run["classes"][0]
    return float(sum(actual > 0 and not predicted for actual, predicted in
                     zip(counts["actual"], counts["predicted"], strict=True)))


def _threads_of_core(run: Figures) -> float | None:
    """The most threads of trainers on a core of a machine."""
    job = run["job"]
    if "machines" not in job:
        return None
    threads = [0] * len(job["machines"])
    for machine, count, trains in zip(job["machine_of_rank"], job["threads"], job["trains"], strict=True):
        threads[machine] += count if trains else 0
    return max(float(count / machine["cores"]) for count, machine in zip(threads, job["machines"], strict=True))


def _idle_cores(run: Figures) -> float | None:
    """The part of the cores that no thread of a trainer computes on."""
    used = _threads_of_core(run)
    return None if used is None or run["trainers"] is None else 1 - used


RULES: Sequence[Rule] = (
    Rule("diverged", _diverged, 0, lambda run, figure: "The run diverged: a smaller `--lr`, `--warmup-steps`, or "
         "`--clip 1` keep steps short; look for features that are huge or not finite"),
    Rule("waiting", _share("wait_s"), 0.25, lambda run, figure:
         f"{percent(figure)} of the time the trainers wait for rows of other nodes: {_waiting(run)}"),
    Rule("cut", _cut_like_random, 0.8, lambda run, figure:
         f"Rows come from other nodes {percent(figure)} as often as with nodes cut at random: `partition GRAPH OUT "
         "--method metis`, or `--method propagation` for large graphs, keeps neighbors together"),
    Rule("sampling", _share("sample_s"), 0.4, lambda run, figure:
         f"{percent(figure)} of the time goes into sampling: smaller `--fanouts`, or `--sampler labor`, which draws "
         "fewer nodes for as many edges"),
    Rule("gradients", _reducing, 0.3, lambda run, figure:
         f"Each trainer spends at least {percent(figure)} of its time on summing gradients: a larger `--batch-size` "
         "makes fewer steps"),
    Rule("imbalance", _imbalance, 1.15, _uneven),
    Rule("validation", _validating, 0.4, lambda run, figure:
         f"{percent(figure)} of the time goes into validation: a larger `--eval-every`, or smaller `--eval-fanouts`"),
    Rule("threads", _threads_of_core, 1.01, lambda run, figure:
         f"Trainers compute with {figure:.3g} threads for each core: start fewer ranks on a node"
         + (", or set OMP_NUM_THREADS=1" if max(run["job"]["threads"]) > 1 else "")),
    Rule("idle", _idle_cores, 0.5, lambda run, figure:
         f"{percent(figure)} of the cores have no thread of a trainer: more ranks, or OMP_NUM_THREADS, use them"),
    Rule("longer", _still_better, 0, lambda run, figure:
         "The last epoch was the best one: more `--epochs` may be better still"),
    Rule("shorter", _past_best, 0.5, lambda run, figure:
         f"The last {percent(figure)} of the epochs brought nothing better: `--patience 5` ends a run then; "
         f"{'a larger' if more_is_better(run['result']['metric']) else 'a smaller'} value may come of `--dropout`, "
         "`--weight-decay` or a smaller `--lr`"),
    Rule("classes", _never_said, 0, lambda run, figure:
         f"{figure:.0f} of {len(run['classes'][0]['actual'])} classes were never predicted: `--metrics macro_f1,acc` "
         "chooses parameters by all classes alike"),
    Rule("memory", _over_plan, 1.25, _over_plan_text),
)
