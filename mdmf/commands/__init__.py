"""The commands, one module each; `mdmf/cli.py` calls them.

A module has the name of its command, with `_` for `-`. It defines `HELP` (one line), `TAKES_SETTINGS` (whether the
command accepts `key=value`; `arguments.overrides` and `arguments.allow_code` exist then), `add_arguments(parser)` and
`run(arguments)`, which may return an exit code. `run` does the slow imports, so that `--help` is fast.
"""

COMMANDS = (
    "train",
    "test",
    "extract",
    "ablate",
    "robustness",
    "check-data",
    "prompts",
    "predict",
    "compare",
    "sweep",
    "report",
    "methods",
)
