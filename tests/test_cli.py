"""The door to the commands."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from mdmf.cli import main
from mdmf.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_script_and_its_help(name, capsys):
    script = ROOT / "tools" / f"{name.replace('-', '_')}.py"
    assert f'main(["{name}", *sys.argv[1:]])' in script.read_text()
    module = importlib.import_module(f"mdmf.commands.{name.replace('-', '_')}")
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert module.HELP in said
    assert ("episode.n_shot=" in said) == module.TAKES_SETTINGS


def test_no_module_of_a_command_is_left_out():
    files = {path.stem for path in (ROOT / "mdmf" / "commands").glob("*.py")} - {"__init__", "shared"}
    assert files == {name.replace("-", "_") for name in COMMANDS}


def test_help_imports_nothing_heavy():
    """Help answers at once because nothing heavy is imported for it: the reason is tested, not the time."""
    code = (
        "import sys; from mdmf.cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'cv2', 'av', 'decord', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_an_unknown_word_is_answered_with_what_may_be_meant(capsys):
    assert main(["train", "--cfg", "demo", "n_shot=5"]) == 2
    assert "episode.n_shot=" in capsys.readouterr().err
