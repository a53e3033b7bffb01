"""The house's rules, read from the imports: which room knows which, and where heavy libraries are used."""

import ast
import pathlib
import subprocess
import sys

import pytest

from seqjax import cells, spec, tasks

ROOT = pathlib.Path(__file__).parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for room in ("seqjax", "experiments")
    for path in sorted((ROOT / room).rglob("*.py"))
}

# Each room may know those on the lines above its own, and no other. `data` shares the losses of `tasks`.
FLOORS = [
    ["seqjax.types", "seqjax.files"],
    ["seqjax.spec"],
    ["seqjax.cells", "seqjax.tasks", "seqjax.papers"],
    ["seqjax.report"],
    ["seqjax.data"],
    ["seqjax.unroll"],
    ["seqjax"],
    ["seqjax.models"],
    ["seqjax.gradients"],
    ["seqjax.training"],
    ["experiments"],
]
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
# What is below, but not theirs to know.
STRANGERS = {("seqjax.data", "seqjax.cells"), ("seqjax.unroll", "seqjax.tasks"), ("seqjax.unroll", "seqjax.data")}
STRANGERS |= {(room, "seqjax.report") for room in FLOOR if room not in ("experiments", "seqjax.report")}

HOMES = {
    "absl": ["experiments"],
    "datasets": ["seqjax.data"],
    "orbax": ["seqjax.training.checkpoint"],
    "matplotlib": ["seqjax.report"],
    "sacrebleu": ["seqjax.data"],
    "seqeval": ["seqjax.data"],
    "mido": ["seqjax.data"],
    "scipy": ["seqjax.data"],
    "hmmlearn": [],
    "torch": [],
    "hypothesis": [],
    "pytest": [],
}


def imports(name):
    """The full names of all that a file imports, wherever in it."""
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{source}.{alias.name}" if f"{source}.{alias.name}" in FILES else source for alias in node.names}
    return found


def room(name):
    """The room a module stands in: 'seqjax.cells.lstm' -> 'seqjax.cells'."""
    parts = name.split(".")
    return "experiments" if parts[0] == "experiments" else ".".join(parts[:2])


def ours(names):
    """Those of the names that are files of this house."""
    return {name for name in names if name.split(".")[0] in ("seqjax", "experiments")}


def within(name, homes):
    """Whether a module is one of the homes or in one."""
    return any(name == home or name.startswith(home + ".") for home in homes)


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down_only(name):
    here = room(name)
    assert here in FLOOR, f"{here} is a room without a floor: say in this test on which it stands"
    for target in ours(imports(name)):
        there = room(target)
        assert there == here or FLOOR[there] < FLOOR[here], f"{name} imports {target}, which is not below it"
        assert (here, there) not in STRANGERS, f"{name} imports {target}, which is not for it to know"


@pytest.mark.parametrize("name", FILES)
def test_libraries_stay_where_they_belong(name):
    for target in imports(name):
        homes = HOMES.get(target.split(".")[0])
        assert homes is None or within(name, homes), f"{name} imports {target}, whose place is {homes or 'tests'}"


@pytest.mark.parametrize("name", [f"seqjax.cells.{cell}" for cell in spec.names([cells])])
def test_no_cell_knows_another(name):
    others = {f"seqjax.cells.{cell}" for cell in spec.names([cells])}
    assert not imports(name) & others


@pytest.mark.parametrize("name", [f"seqjax.tasks.{task}" for task in spec.names([tasks])])
def test_no_task_knows_another(name):
    others = {f"seqjax.tasks.{task}" for task in spec.names([tasks])}
    assert not imports(name) & others


def test_shared_parts_of_cells_and_tasks_know_none_of_them():
    for place, things in [("seqjax.cells", spec.names([cells])), ("seqjax.tasks", spec.names([tasks]))]:
        named = {f"{place}.{thing}" for thing in things}
        shared = [name for name in FILES if within(name, [place]) and name not in named]
        assert shared and not any(imports(name) & named for name in shared)


def test_the_report_reads_records_and_no_live_object():
    for name in FILES:
        if within(name, ["seqjax.report"]):
            assert {room(target) for target in ours(imports(name))} <= {
                "seqjax.report",
                "seqjax.types",
                "seqjax.files",
                "seqjax.spec",
                "seqjax.papers",
            }


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is(name):
    text = FILES[name].read_text()
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    assert text.startswith('"""') and len(first.split()) >= 3, f"{name} has no first sentence"
    assert first[-1] in ".:?", f"{name}: {first!r} is no whole sentence on one line"


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named_for_what_it_holds(name):
    assert not {"utils", "util", "helpers", "helper", "misc", "common", "base"} & set(name.split("."))


def test_importing_the_package_is_light():
    heavy = ["datasets", "matplotlib", "orbax", "torch", "tensorboardX", "absl.flags", "tensorflow", "pandas"]
    code = f"import sys, seqjax; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_guard_sees_what_it_guards():
    """Each rule would be kept by an empty house; here are files that each library and floor stands on."""
    for library, place in [("absl", "experiments"), ("datasets", "seqjax.data"), ("matplotlib", "seqjax.report")]:
        users = [name for name in FILES if library in {target.split(".")[0] for target in imports(name)}]
        assert users and all(within(name, [place]) for name in users)
    assert "seqjax.types" in imports("seqjax.cells.lstm") and "seqjax.cells.initializers" in imports(
        "seqjax.cells.lstm"
    )
    assert "seqjax.unroll" in imports("seqjax.models.sequence")
