"""Links, commands, options, settings and examples of the documents are valid."""

import ast
import importlib
import io
import itertools
import re
import shlex
import shutil
import sys
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import pytest

from mdmf.cli import _parser, main
from mdmf.commands import COMMANDS
from mdmf.config import find_config, load_settings, setting_names
from mdmf.registry import METHODS, SOURCE_KINDS
from mdmf.resources import shipped_folder

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
OVERRIDE = re.compile(r"(\w+(?:\.\w+)+)=")
FILE_NAME = re.compile(r"# (\S+\.(?:py|yaml))\n")  # first line of a block that is a file
SETTINGS = {name for name, _ in setting_names()} | {"data.config"}
SETTINGS |= {f"model.{key}" for name in METHODS for key in METHODS[name].settings.model_fields}
SOURCE_SETTINGS = {name for kind in SOURCE_KINDS for name, _ in setting_names(SOURCE_KINDS[kind])}  # below its name
# Dictionaries, whose keys are chosen by the user.
OPEN_SETTINGS = ("model.options.", "model.of.", "model.alphas.", "data.lists.")


@dataclass(frozen=True)
class Document:
    """The parts of a document.

    Attributes:
        blocks: (language, text) of the fenced blocks.
        spans: inline code outside the blocks, each on one line.
    """

    path: Path
    prose: str
    blocks: tuple[tuple[str, str], ...]
    spans: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Document":
        text = path.read_text(encoding="utf-8")
        blocks = tuple((language, body) for _, language, body in FENCE.findall(text))
        prose = FENCE.sub("", text)
        return cls(path, prose, blocks, tuple(" ".join(span.split()) for span in SPAN.findall(prose)))

    @property
    def files(self) -> dict[str, str]:
        """File name -> text of the blocks that begin with `# name.py`."""
        named = [(FILE_NAME.match(body), body) for _, body in self.blocks]
        return {match[1]: body for match, body in named if match}

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command in shell blocks, without comments and leading variables."""
        texts = [body for language, body in self.blocks if language in ("", "bash", "sh")]
        return [words for text in texts for words in command_lines(text)]

    @property
    def mentioned(self) -> list[list[str]]:
        """The words of each command in inline code, possibly with placeholders."""
        return [words for span in self.spans if "tools/" in span for words in command_lines(span)]


def command_lines(text: str) -> list[list[str]]:
    """Commands of the project, split like in a shell."""
    commands = []
    for line in re.split(r"\n|&&", text.replace("\\\n", " ")):
        if not re.search(r"\b(tools|benchmarks)/\w+\.py|^\s*mdmf ", line):
            continue
        words = [word for part in shlex.split(line, comments=True) for word in braces(part)]
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        commands.append(words)
    return commands


def braces(word: str) -> list[str]:
    """`a{b,c}` expanded like in a shell; braces in the value of a setting are kept."""
    match = re.fullmatch(r"([^{}=]*)\{([^{}:\s]+,[^{}:\s]*)\}([^{}]*)", word)
    return [f"{match[1]}{each}{match[3]}" for each in match[2].split(",")] if match else [word]


def script_of(words: list[str]) -> tuple[str, list[str]]:
    """The script (`tools/train.py`) and its arguments."""
    if words[0] == "mdmf":
        return f"tools/{words[1].replace('-', '_')}.py", words[2:]
    place = next(i for i, word in enumerate(words) if re.fullmatch(r"(tools|benchmarks)/\w+\.py", word))
    return words[place], words[place + 1 :]


def command_of(script: str) -> str | None:
    """The command of a script; None for other scripts."""
    name = Path(script).stem.replace("_", "-")
    return name if script.startswith("tools/") and name in COMMANDS else None


def options_of(command: str) -> set[str]:
    (commands,) = [action for action in _parser()._actions if action.dest == "command"]
    return set(commands.choices[command]._option_string_actions)


def is_placeholder(word: str) -> bool:
    return bool(re.search(r"[…<>\[\]|$*]|\.\.\.$", word.split("=")[0])) or word.endswith("…")


def check_config(name: str, document: Document) -> None:
    if name in document.files or re.fullmatch(r"[A-Z]…?", name) or is_placeholder(name):
        return
    if shipped_folder("configs", name) is None:
        find_config(ROOT / name if (ROOT / name).is_file() else name)  # raises, naming it


def check_words(words: list[str], document: Document) -> None:
    """Check that the script, its options and its configs exist."""
    script, given = script_of(words)
    assert (ROOT / script).is_file(), f"{script} in {document.path}"
    command = command_of(script)
    if command is None:
        source = (ROOT / script).read_text(encoding="utf-8")
        assert all(f'"{word}"' in source for word in given if word.startswith("--")), words
        return
    options = [word.strip("[]").split("=")[0] for word in given if word.strip("[").startswith("--")]
    unknown = [option for option in options if option not in options_of(command)]
    assert not unknown, f"{document.path}: {script} has no option {unknown}"
    if "--cfg" in given:
        after = itertools.takewhile(lambda word: not re.match(r"\[?--|.*=", word), given[given.index("--cfg") + 1 :])
        for name in after if command == "ablate" else itertools.islice(after, 1):
            check_config(name, document)


def test_there_are_documents_with_commands():
    assert "docs/guides/own_method.md" in NAMES
    assert sum(len(Document.read(path).commands) for path in DOCUMENTS) > 30


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    document = Document.read(ROOT / name)
    for link in LINK.findall(document.prose):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = document.path if not target else (document.path.parent / target).resolve()
        assert path.exists(), f"{name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", each).lower().replace(" ", "-") for each in headings}, link


@pytest.mark.parametrize("name", NAMES)
def test_scripts_options_and_configs_exist(name):
    document = Document.read(ROOT / name)
    for words in (*document.commands, *document.mentioned):
        check_words(words, document)


@pytest.mark.parametrize("name", NAMES)
def test_settings_in_commands_and_text_exist(name):
    document = Document.read(ROOT / name)
    texts = [word for words in document.commands for word in words]
    texts += [word for span in document.spans for word in span.split()]
    for text in texts:
        match = OVERRIDE.match(text.strip("'[]"))
        if match and not match[1].startswith(OPEN_SETTINGS):
            section, _, rest = match[1].partition(".")
            of_source = section == "sources" and rest.partition(".")[2] in SOURCE_SETTINGS
            assert of_source or match[1] in SETTINGS, f"{name}: {text}"


@pytest.mark.parametrize("name", NAMES)
def test_commands_in_blocks_are_understood(name, monkeypatch, tmp_path):
    """The parser accepts the options, and the settings accept the values."""
    document = Document.read(ROOT / name)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for file, text in document.files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for words in document.commands:
        script, given = script_of(words)
        command = command_of(script)
        if command is None or any(map(is_placeholder, given)):
            continue
        overrides = [word for word in given if OVERRIDE.match(word)]
        words_of_options = [word for word in given if word not in overrides]
        if "--help" in words_of_options:
            continue
        with redirect_stderr(io.StringIO()) as errors:
            try:
                arguments, unknown = _parser().parse_known_args([command, *words_of_options])
            except SystemExit:
                pytest.fail(f"{name}: {' '.join(words)}: {errors.getvalue()}")
        assert not unknown, f"{name}: {unknown}"
        configs = getattr(arguments, "cfg", None) or []
        for config in [configs] if isinstance(configs, str) else configs:
            if shipped_folder("configs", config) is None:
                load_settings(config, overrides)


@pytest.mark.parametrize("name", NAMES)
def test_python_blocks_import_what_there_is(name):
    for language, body in Document.read(ROOT / name).blocks:
        if language != "python":
            continue
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mdmf"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), f"{name}: {ast.unparse(node)}"


SHORT = [
    "data.root=world",
    "data.kind=folder",
    "data.n_workers=0",
    "episode.n_query=1",
    "evaluation.n_episodes=20",
    "training.n_steps=2",
    "training.episodes_per_step=2",
    "training.validate_every=1",
    "training.validation_episodes=4",
    "training.device=cpu",
    "encoder.device=cpu",
    "--quiet",
]

SMALLEST_TEST = ["evaluation.n_way=2", "evaluation.n_shot=1", "evaluation.n_episodes=20", "--quiet"]


@pytest.mark.parametrize("guide", ["own_encoder", "own_method"])
def test_a_guide_can_be_followed(guide, shapes_world, tmp_path, monkeypatch, capsys):
    """The files of the guide are written, then its commands run on a small world, then its other Python blocks."""
    document = Document.read(ROOT / "docs" / "guides" / f"{guide}.md")
    assert document.files
    for name, text in document.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "world").symlink_to(shapes_world)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    modules = [Path(name).stem for name in document.files if name.endswith(".py")]
    followed = []
    try:
        for script, given in map(script_of, document.commands):
            if command_of(script) not in ("train", "test"):
                continue
            extra = SHORT if "train" in script else SMALLEST_TEST
            assert main([command_of(script), *given, *extra]) == 0, capsys.readouterr().err
            followed.append(command_of(script))
            if "train" in script:
                refused = [word for word in given if word != "--allow-code"]
                for module in modules:
                    sys.modules.pop(module)
                assert main([command_of(script), *refused, *SHORT, "sources.rgb.store=elsewhere"]) == 2
                assert "--allow-code" in capsys.readouterr().err
                assert not set(modules) & set(sys.modules)
        for language, body in document.blocks:
            if language == "python" and not FILE_NAME.match(body):
                exec(compile(body, f"{guide}.md", "exec"), {})
    finally:
        for module in modules:
            sys.modules.pop(module, None)
    assert followed == ["train", "test"]
    assert len(list(tmp_path.glob("runs/*/test_*.json"))) == 2  # after training, and by the test command
