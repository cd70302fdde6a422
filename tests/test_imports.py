"""Imports go one way: a part may import only parts to its right (CONTRIBUTING.md)."""

import ast
import configparser
from pathlib import Path

import mdmf

ORDER = [
    {"cli"},
    {"commands"},
    {"recognition", "studies", "doctor", "evidence"},
    {"engine", "report"},
    {"models", "shapes"},
    {"layers", "mutual"},
    {"data", "encoders", "distances"},
    {"config"},
    {"settings"},
    {"old_settings", "old_sources", "source_settings"},
    {"registry", "nested", "section"},
    {"results", "training_log"},
    {"records"},
    {"resources", "files", "class_names", "structures", "corruptions", "own_code", "device", "statistics"}
    | {"yaml_text"},
]
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}
PACKAGE = Path(mdmf.__file__).parent
RESULT_MODULES = ("files", "records", "results", "statistics", "training_log")
WORKER_FOLDERS = ("data/views", "data/sources", "data/video")


def imported_modules(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return names | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


def part_of(module: str) -> str | None:
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "mdmf" and len(pieces) > 1 else None


def test_imports_go_one_way():
    files = [path for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    assert len(files) > 30
    wrong = set()
    for path in files:
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for module in imported_modules(path):
            other = part_of(module)
            if other is None or other == own or (own == "resources" and other == "structures"):
                continue
            if LEVEL[other] <= LEVEL[own]:
                wrong.add(f"{path.relative_to(PACKAGE).as_posix()} imports {module}")
    assert not wrong


def test_methods_see_features_only():
    """models, layers, mutual and distances never open a video, a file or CLIP."""
    forbidden = {"av", "decord", "cv2", "PIL", "open_clip", "transformers", "numpy", "pathlib", "io", "safetensors"}
    for part in ("models", "layers", "mutual", "distances"):
        files = list((PACKAGE / part).rglob("*.py"))
        assert files
        for path in files:
            assert not {name.split(".")[0] for name in imported_modules(path)} & forbidden, path


def test_decoding_workers_start_without_torch_or_pandas():
    paths = [path for folder in WORKER_FOLDERS for path in (PACKAGE / folder).glob("*.py")]
    assert len(paths) > 20
    for path in [*paths, PACKAGE / "data" / "arrays.py", PACKAGE / "doctor" / "probe.py"]:
        assert not {module.split(".")[0] for module in imported_modules(path)} & {"torch", "pandas", "open_clip"}, path


def test_nothing_but_its_own_file_knows_a_method():
    """The rest of the program asks the registry; `reference` reads the checkpoints of one method."""
    readers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(module.startswith("mdmf.models.zoo") for module in imported_modules(path))
    }
    assert readers == {"models/reference.py"}


def test_a_report_reads_result_files_only():
    """No model, no torch: a page can be made where nothing can be tested."""
    files = [*(PACKAGE / "report").glob("*.py"), *(PACKAGE / f"{name}.py" for name in RESULT_MODULES)]
    assert len(files) > 10
    for path in files:
        modules = imported_modules(path)
        assert "torch" not in modules, path
        assert {part_of(module) for module in modules} <= {None, "report", *RESULT_MODULES}, path


def test_only_what_has_settings_of_its_own_the_engine_and_what_stands_on_it_read_settings():
    """Methods have settings of their own, as sources have (`source_settings`); all other code takes plain arguments."""
    of_settings = {"mdmf.config", "mdmf.settings"}
    free = ("models/", "engine/", "recognition/", "studies/", "doctor/", "evidence/", "commands/")
    readers = {
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if of_settings & imported_modules(path)
    }
    assert {reader for reader in readers if not reader.startswith(free)} == {"cli.py", "config.py"}


def test_a_wheel_holds_every_package():
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    folders = {path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")}
    packages = {".".join(folder.parts) for folder in folders}
    assert packages <= set(setup["options"]["packages"].split())
