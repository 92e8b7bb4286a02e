"""The house: no import cycle, commands on top of all, the data tool without the plugin."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"mindgap_data": "datatool", "mindgap_loss": "plugin", "mindgap_axolotl": "plugin"}
MODULES = {
    ".".join(path.relative_to(ROOT / folder).with_suffix("").parts).removesuffix(".__init__"): path
    for package, folder in FOLDERS.items()
    for path in (ROOT / folder / package).rglob("*.py")
}


def imports(module: str) -> set[str]:
    """Our modules that a module imports, inside its functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names & MODULES.keys() if name not in (module, module.partition(".")[0])}


GRAPH = {module: imports(module) for module in MODULES}


def room(module: str) -> str:
    """The package a module stands in: mindgap_data.rows, say."""
    return ".".join(module.split(".")[:2])


def test_no_module_imports_itself_by_a_detour() -> None:
    list(TopologicalSorter(GRAPH).static_order())  # raises CycleError, which names the cycle


def test_no_package_imports_itself_by_a_detour() -> None:
    rooms: dict[str, set[str]] = {}
    for module, needed in GRAPH.items():
        rooms.setdefault(room(module), set()).update(room(other) for other in needed if room(other) != room(module))
    list(TopologicalSorter(rooms).static_order())


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) != "mindgap_data.commands"])
def test_nothing_below_imports_a_command(module: str) -> None:
    assert not [name for name in GRAPH[module] if room(name) == "mindgap_data.commands"]


def test_the_data_tool_stands_alone_and_the_loss_needs_no_axolotl() -> None:
    for module, needed in GRAPH.items():
        if module.startswith("mindgap_data"):
            assert not [name for name in needed if not name.startswith("mindgap_data")], module
        if module.startswith("mindgap_loss"):
            assert not [name for name in needed if name.startswith("mindgap_axolotl")], module
            assert not re.search(r"^\s*(from|import) axolotl", MODULES[module].read_text(), re.MULTILINE), module
