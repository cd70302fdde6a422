"""The commands, a module each: what it is called with, and what it calls. `mdmf/cli.py` is the door to all of them.

A module is named as its command, with `_` for `-`, and has `HELP` (one line), `TAKES_SETTINGS` (whether `key=value` may
follow: then `arguments.overrides` and `arguments.allow_code` hold what was said), `add_arguments(parser)` and
`run(arguments)`, which may return an exit code. Heavy imports wait inside `run`, so that `--help` answers at once.
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
