"""Imports point down, and only the files made for it use MPI, torch, HDF5 and numba."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
LAYERS = [{"arguments", "batch", "child", "duties", "errors", "files", "log", "buffers", "roles", "function", "imports",
           "json_text", "launcher", "machine", "progress", "say", "schedulers", "shown", "stop", "tasks", "terminal",
           "unique", "version", "watchdog"},
          {"kernels"}, {"graph"}, {"models", "samplers", "ways"}, {"config"}, {"options"}, {"comm"}, {"mpi"},
          {"partition"}, {"large"}, {"tables"}, {"storage"}, {"report"}, {"store"}, {"sampling"}, {"nn"}, {"loader"},
          {"train"}, {"job"}, {"bench"}, {"cli_parser"}, {"cli_data"},
          {"cli_batch", "cli_bench", "cli_info", "cli_report"}, {"cli"}, {"__main__"}]
LATE = {"graph.block": {"nn.passing"}}      # methods that users look for on a block bring in torch when called
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
ALLOWED = {     # by prefix of the module's name below mpignn
    "mpi4py": ("mpi.",),
    "h5py": ("storage.",),
    "numba": ("kernels.",),
    "pyarrow": ("tables.",),
    "llvmlite": ("kernels.simd",),
    "torch": ("nn.", "train.", "loader.base", "loader.between", "loader.collate", "loader.fetch", "loader.edge",
              "loader.split", "mpi.process_group", "mpi.nccl", "store.tensor", "store.given", "store.graph",
              "store.partition", "store.subgraph", "job.trainer", "bench.aggregate", "bench.allreduce",
              "bench.embedding", "bench.epoch"),
}

# What belongs to the process, since that has one of each; all else belongs to an object.
OF_THE_PROCESS = {
    "stop": "signals come to the process",
    "watchdog": "one thread watches all that the process does",
    "storage.claim": "a run folder is claimed by the process, whatever part of it asks",
    "progress": "what a process does is shown in one place",
    "duties": "whoever waits does them, whatever it waits for",
    "mpi.sync": "whoever is at the end tells all groups",
    "mpi.probe": "memory that an operation of MPI without an end may still use",
    "store.registry": "the graph that is meant where none is named is the only one that is open",
    "models": "a class of the user's own is known by its name",
}
CHANGES = {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popleft", "remove",
           "setdefault", "update"}


def modules() -> dict[str, Path]:
    """Every module of the package: name below mpignn -> file."""
    found = {}
    for path in sorted((SRC / "mpignn").rglob("*.py")):
        parts = path.relative_to(SRC / "mpignn").with_suffix("").parts
        found[".".join(parts)] = path
    return found


MODULES = modules()
ALL = [name for name in MODULES if name != "__init__"]


def imports(name: str) -> set[str]:
    """Full names that a module imports, also later; what only a type checker needs does not count."""
    tree = ast.parse(MODULES[name].read_text())
    blocks = [block for block in ast.walk(tree) if isinstance(block, ast.If)]
    for_types = {node for block in blocks if "TYPE_CHECKING" in ast.dump(block.test) for node in ast.walk(block)}
    found = set()
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(name: str) -> set[str]:
    """Modules of the package that a module imports, when it is imported itself or later."""
    found = set()
    for full in imports(name):
        below = full.removeprefix("mpignn.")
        if full.startswith("mpignn."):
            holder = below.rpartition(".")[0]       # of a name that is no module itself
            candidates = (below, f"{below}.__init__", holder, f"{holder}.__init__")
            found |= set([c for c in candidates if c in MODULES][:1])
    return found - {name}


def layer(name: str) -> int:
    return LAYER[name.partition(".")[0]]


def test_every_module_has_a_layer():
    assert {name.partition(".")[0] for name in ALL} <= LAYER.keys()


@pytest.mark.parametrize("name", ALL)
def test_imports_point_down(name):
    below = {full.removeprefix("mpignn.") for full in imports(name) if full.startswith("mpignn.")}
    upward = {b for b in below if b.partition(".")[0] in LAYER and layer(b) > layer(name)}
    assert upward <= LATE.get(name, set())


def test_no_module_imports_itself_by_way_of_others():
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name):], name])
        if name not in done:
            path.append(name)
            for other in sorted(own_imports(name)):
                visit(other)
            done.add(path.pop())

    for name in ALL:
        visit(name)


def state(tree: ast.Module) -> set[str]:
    """Names of a module that its functions bind anew or change in place."""
    bound = {target.id for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)
             for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
             if isinstance(target, ast.Name)}
    found = set()
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        local = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        local |= {argument.arg for argument in ast.walk(function) if isinstance(argument, ast.arg)}
        for node in ast.walk(function):
            match node:
                case ast.Global(names):
                    found |= {*names}
                case ast.Call(ast.Attribute(ast.Name(name), method)) if method in CHANGES:
                    found |= {name} - local
                case ast.Subscript(ast.Name(name), ctx=ast.Store() | ast.Del()):
                    found |= {name} - local
    return found & bound


def test_only_processes_have_state_of_a_module():
    with_state = {name for name in ALL if state(ast.parse(MODULES[name].read_text()))
                  and not f"{name}.".startswith(("kernels.", "log."))}
    assert with_state == OF_THE_PROCESS.keys()


def test_state_of_a_module_is_found():
    assert state(ast.parse("a, b, c, d = 1, [], {}, []\n")) == set()
    text = "a = 1\nb = []\nc = {}\nd = []\ndef f(d):\n    global a\n    b.append(1)\n    c[1] = 2\n    d.append(3)\n"
    assert state(ast.parse(text)) == {"a", "b", "c"}


def test_no_file_is_long():
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: number for name, number in lines.items() if number > 400} == {}


@pytest.mark.parametrize("name", ALL)
def test_libraries_stay_in_their_layers(name):
    used = {full.partition(".")[0] for full in imports(name)} & ALLOWED.keys()
    assert {library for library in used if not f"{name}.".startswith(ALLOWED[library])} == set()


def test_lower_layers_need_neither_torch_nor_mpi():
    above = ("mpi.", "nn.", "train.", "loader.", "job.trainer", "store.given", "store.graph", "store.subgraph",
             "store.tensor", "bench.aggregate", "bench.allreduce", "bench.embedding", "bench.epoch", "__main__")
    lower = [name for name in ALL if not f"{name}.".startswith(above)]
    assert {"job.own_program", "job.server", "sampling.neighbor", "storage.read"} <= set(lower)
    import_without(("torch", "mpi4py"), lower)


def test_servers_need_no_torch():
    import_without(("torch",), [n for n in ALL if n.startswith("mpi.") and not n.startswith(ALLOWED["torch"])] +
                   ["job.server"])


def import_without(libraries, names) -> None:
    blocked = "".join(f"sys.modules[{library!r}] = None\n" for library in libraries)
    wanted = "".join(f"import mpignn.{name.removesuffix('.__init__')}\n" for name in names)
    run = subprocess.run([sys.executable, "-c", f"import sys\n{blocked}{wanted}"], capture_output=True, text=True,
                         timeout=120, env={"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin"})
    assert run.returncode == 0, run.stderr
