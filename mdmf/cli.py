"""The command line: parses the arguments, calls the command, and prints errors of the user in one message."""

from __future__ import annotations

import argparse
import importlib
import logging
import re
import sys
from collections.abc import Sequence

from mdmf.commands import COMMANDS
from mdmf.config import setting_line, setting_names
from mdmf.settings import Settings
from mdmf.structures import RunFailed

_OVERRIDE = re.compile(r"^\w+(\.\w+)+=")


def _settings_help() -> str:
    """Help text with the default and the meaning of every setting."""
    lines, section = ["settings (key=value; the same keys as in the YAML):"], ""
    for name, field in setting_names():
        first = name.split(".")[0]
        if first != section:
            section = first
            whole = Settings.model_fields[section]
            meaning = whole.description or (whole.annotation.__doc__ or "").splitlines()[0]
            lines.append(f"  {section}: {meaning}")
        lines.append(f"    {setting_line(name, field)}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mdmf", description="Few-shot action recognition on frozen CLIP features.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"mdmf.commands.{name.replace('-', '_')}")
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            usage=f"mdmf {name} [options]{' [key=value ...]' if module.TAKES_SETTINGS else ''}",
            epilog=_settings_help() if module.TAKES_SETTINGS else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--quiet", action="store_true", help="no progress bars, warnings only")
        if module.TAKES_SETTINGS:
            command.add_argument(
                "--allow-code",
                action="store_true",
                help="let encoder.library=module and model.name=module import your own Python code",
            )
        module.add_arguments(command)
        command.set_defaults(run_command=module.run, takes_settings=module.TAKES_SETTINGS)
    return parser


def _hint(word: str) -> str:
    """A hint for a word that is neither an option nor a setting."""
    if word.startswith("-"):
        return "it is not an option of this command; see --help"
    key = word.split("=")[0].strip().split(".")[-1].replace("-", "_")
    name = next((name for name, _ in setting_names() if name.split(".")[-1] == key), None)
    return "write section.key=value, as in " + ("episode.n_shot=5" if name is None else f"{name}=…")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Errors of settings, paths and data, and a failed run, print one message and return 2; Ctrl-C returns 130. Other
    exceptions are bugs and are raised.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    # Overrides may follow an option that takes several words, so they are recognised by their form.
    overrides = [word for word in words if _OVERRIDE.match(word)]
    arguments, unknown = _parser().parse_known_args([word for word in words if not _OVERRIDE.match(word)])
    if overrides and not arguments.takes_settings:
        print(f"error: {arguments.command} takes no settings, got {overrides[0]!r}; see --help", file=sys.stderr)
        return 2
    if unknown:
        print(f"error: cannot read {unknown[0]!r}; {_hint(unknown[0])}", file=sys.stderr)
        return 2
    arguments.overrides = overrides
    logging.basicConfig(level=logging.WARNING if arguments.quiet else logging.INFO, format="%(message)s")
    try:
        code: int | None = arguments.run_command(arguments)
    except (ValueError, OSError, ImportError, RunFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nstopped; finished features are kept, and mdmf train --resume continues from the last saved state "
            "(every training.save_every steps)",
            file=sys.stderr,
        )
        return 130
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
