"""The commands: read arguments, call mdmf, print where the output went. Heavy imports wait until work begins."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mdmf.config import find_config, load_settings, setting_names
from mdmf.corruptions import KINDS
from mdmf.resources import shipped_folder
from mdmf.settings import Settings
from mdmf.structures import SOURCES, RunFailed

if TYPE_CHECKING:
    from mdmf.engine.run_folder import RunFolder
    from mdmf.engine.tester import Protocol
    from mdmf.engine.workspace import Workspace


_OVERRIDE = re.compile(r"^\w+(\.\w+)+=")


def _settings_help() -> str:
    """Every setting with its default and meaning, section by section."""
    lines, section = ["settings (key=value; the same keys as in the YAML):"], ""
    for name, field in setting_names():
        first = name.split(".")[0]
        if first != section:
            section = first
            lines.append(f"  {section}: {(Settings.model_fields[section].annotation.__doc__ or '').splitlines()[0]}")  # type: ignore[union-attr]
        default = field.get_default(call_default_factory=True)
        shown = "-" if default is None else str(default) if not isinstance(default, tuple) else list(default)
        lines.append(f"    {name}={shown}  {field.description or ''}".rstrip())
    return "\n".join(lines)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mdmf", description="Few-shot action recognition on frozen CLIP features: train, test, extract, ablate."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{train,test,extract,ablate,robustness}")

    def add(name: str, description: str, handler: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=description,
            description=description,
            usage=f"mdmf {name} [options] [key=value ...]",
            epilog=_settings_help(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--quiet", action="store_true", help="no progress bars, warnings only")
        command.add_argument(
            "--allow-code", action="store_true", help="let encoder.library=module import your own Python code"
        )
        command.set_defaults(handler=handler)
        return command

    train = add("train", "everything that is missing: videos, features, training, choice on val, test", _train)
    train.add_argument("--cfg", required=True, metavar="C", help="config file, or the name of a shipped one")
    train.add_argument("--resume", action="store_true", help="go on with the newest unfinished run of this name")

    test = add("test", "the test protocol: accuracy with its interval, beside the baselines", _test)
    source = test.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="RUN", help="run folder: its settings and its best weights")
    source.add_argument("--cfg", metavar="C", help="config file, or the name of a shipped one")
    test.add_argument("--ckpt", type=Path, metavar="F", help="weights (safetensors); baselines need none")

    extract = add("extract", "only the features; resumes, and several processes share the work", _extract)
    extract.add_argument("--cfg", required=True, metavar="C", help="config file, or the name of a shipped one")

    ablate = add("ablate", "several configs with several seeds, set against the first", _ablate)
    ablate.add_argument(
        "--cfg", required=True, nargs="+", metavar="C", help="configs, or a folder of them; first: base"
    )
    ablate.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S", help="training seeds")
    ablate.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR", help="folder of the runs")
    ablate.add_argument("--jobs", type=_at_least_one, default=1, metavar="J", help="runs at a time")

    robustness = add("robustness", "trained runs on input that is corrupted more and more", _robustness)
    robustness.add_argument("--run", required=True, nargs="+", type=Path, metavar="RUN", help="run folders")
    robustness.add_argument("--source", required=True, choices=SOURCES, help="what is corrupted")
    robustness.add_argument("--kind", required=True, choices=KINDS, help="how")
    robustness.add_argument("--strengths", required=True, nargs="+", type=float, metavar="X", help="how much; 0: not")
    robustness.add_argument(
        "--out", type=Path, default=Path("runs/robustness"), metavar="DIR", help="folder of results"
    )
    return parser


def _workspace(arguments: argparse.Namespace, settings: Settings) -> Workspace:
    from mdmf.engine.workspace import Workspace

    if settings.training.n_threads is not None:
        import torch

        torch.set_num_threads(settings.training.n_threads)
    return Workspace(settings, progress=not arguments.quiet, allow_code=arguments.allow_code)


def _train(arguments: argparse.Namespace) -> None:
    settings = load_settings(arguments.cfg, arguments.overrides)
    from mdmf.engine.run_folder import RunFolder
    from mdmf.engine.tester import Protocol
    from mdmf.models.build import is_trained

    RunFolder.check_root(settings)
    workspace = _workspace(arguments, settings)
    if not is_trained(settings.model.name):
        print(f"model {settings.model.name} has nothing to train", flush=True)
        if settings.evaluation.after_training:
            protocol = Protocol.of(settings)
            _report_test(workspace, checkpoint=None, folder=_test_folder(settings), protocol=protocol)
        return
    run = _trained_run(workspace, resume=arguments.resume, progress=not arguments.quiet)
    if settings.evaluation.after_training:
        _report_test(workspace, checkpoint=run.best, folder=run.folder, protocol=Protocol.of(settings))
    print(f"run folder: {run.folder}")


def _trained_run(workspace: Workspace, *, resume: bool, progress: bool) -> RunFolder:
    from mdmf.engine.run_folder import RunFolder
    from mdmf.engine.trainer import make_trainer

    settings = workspace.settings
    run = RunFolder.to_resume(settings)
    if resume and run is None:
        print("nothing to resume: there is no run of this name yet", flush=True)
    if resume and run is not None:
        run.check_same(settings)
        if run.finished:
            print(f"{run.folder} has finished training already", flush=True)
            return run
    if not resume and run is not None and not run.finished:
        print(f"note: {run.folder} is unfinished; --resume would go on with it", flush=True)

    def open_run() -> RunFolder:
        return run if resume and run is not None else RunFolder.create(settings)

    trainer = make_trainer(workspace, open_run, progress=progress)
    trainer.resume()
    trainer.fit()
    return trainer.run


def _test(arguments: argparse.Namespace) -> None:
    from mdmf.engine.tester import Protocol

    if arguments.run is not None:
        from mdmf.engine.run_folder import RunFolder

        run = RunFolder.open(arguments.run)
        if not run.finished:
            print(f"note: {run.folder} has not finished training; these are its best weights so far", flush=True)
        settings, folder, trained_with = run.settings(arguments.overrides), run.folder, run.settings()
        run.check_same_features(settings)
        checkpoint = arguments.ckpt or run.best
        protocol = Protocol.of(settings, trained_with=trained_with, checkpoint=arguments.ckpt)
    else:
        settings = load_settings(arguments.cfg, arguments.overrides)
        folder, checkpoint = _test_folder(settings), arguments.ckpt
        protocol = Protocol.of(settings).beside(folder, settings, checkpoint)
    _report_test(_workspace(arguments, settings), checkpoint=checkpoint, folder=folder, protocol=protocol)


def _test_folder(settings: Settings) -> Path:
    """Where a test without a run writes: beside the runs, under the names of the config and the model."""
    return settings.output.root / f"{settings.output.name}-{settings.model.name}-test"


def _report_test(workspace: Workspace, *, checkpoint: Path | None, folder: Path, protocol: Protocol) -> None:
    from mdmf.engine.tester import run_test
    from mdmf.report.tables import result_table

    result = run_test(workspace, checkpoint=checkpoint, folder=folder, protocol=protocol)
    print(f"\n{result_table(result)}\n")
    print(f"result: {folder / f'test_{protocol.name}.json'}")


def _extract(arguments: argparse.Namespace) -> None:
    workspace = _workspace(arguments, load_settings(arguments.cfg, arguments.overrides))
    print(workspace.extract())
    for source in workspace.sources:
        print(f"feature store of {source}: {workspace.stores.folder(source)}")


def _ablate(arguments: argparse.Namespace) -> None:
    from mdmf.engine.ablation import run_ablation
    from mdmf.report.tables import ablation_table

    result = run_ablation(
        _configs_in_order(arguments.cfg),
        seeds=arguments.seeds,
        root=arguments.out,
        overrides=arguments.overrides,
        n_jobs=arguments.jobs,
        progress=not arguments.quiet,
        allow_code=arguments.allow_code,
    )
    print(f"\n{ablation_table(result)}\n")
    print(f"result: {arguments.out / 'ablation.json'}")


def _robustness(arguments: argparse.Namespace) -> None:
    from mdmf.engine.robustness import run_robustness
    from mdmf.report.tables import robustness_table

    result = run_robustness(
        arguments.run,
        source=arguments.source,
        kind=arguments.kind,
        strengths=arguments.strengths,
        out=arguments.out,
        overrides=arguments.overrides,
        progress=not arguments.quiet,
        allow_code=arguments.allow_code,
    )
    print(f"\n{robustness_table(result)}\n")
    print(f"result: {result['file']}")


def _configs_in_order(names: Sequence[str]) -> list[Path]:
    """Configs as given; a folder, of the user's or a shipped one, stands for the configs in it, `full` first."""
    found: list[Path] = []
    for name in names:
        folder = Path(name) if Path(name).is_dir() else shipped_folder("configs", name)
        if folder is not None:
            found += sorted(folder.glob("*.yaml"), key=lambda path: (path.stem != "full", path.stem))
        else:
            found.append(find_config(name))
    if not found:
        raise FileNotFoundError(f"no config in {', '.join(names)}")
    return found


def _hint(word: str) -> str:
    """What may have been meant by a word that is neither an option nor a setting."""
    if word.startswith("-"):
        return "it is not an option of this command; see --help"
    key = word.split("=")[0].strip().split(".")[-1].replace("-", "_")
    meant = [name for name, _ in setting_names() if name.split(".")[-1] == key]
    return "write section.key=value, as in " + (f"{meant[0]}=…" if meant else "episode.n_shot=5")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    What a user can mend (settings, paths, data, a diverging training) ends with one clear message and code 2, Ctrl-C
    with 130. Anything else is a bug of ours and shows its traceback.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    # Overrides may stand anywhere, also behind an option that takes several words: they are told by their form.
    overrides = [word for word in words if _OVERRIDE.match(word)]
    arguments, unknown = _parser().parse_known_args([word for word in words if not _OVERRIDE.match(word)])
    if unknown:
        print(f"error: cannot read {unknown[0]!r}; {_hint(unknown[0])}", file=sys.stderr)
        return 2
    arguments.overrides = overrides
    logging.basicConfig(level=logging.WARNING if arguments.quiet else logging.INFO, format="%(message)s")
    try:
        arguments.handler(arguments)
    except (ValueError, OSError, ImportError, RunFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nstopped; finished features are kept, and train.py --resume goes on from the last state it saved "
            "(every training.save_every steps)",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
