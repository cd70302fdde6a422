"""`mdmf train`: all steps from videos to the table; finished steps are reused."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mdmf.commands.shared import add_config_argument, open_workspace, report_test, test_folder
from mdmf.config import load_settings

if TYPE_CHECKING:
    from mdmf.engine.run_folder import RunFolder
    from mdmf.engine.workspace import Workspace

HELP = "all missing steps: videos, features, training, choice of weights on val, test"
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config_argument(parser)
    parser.add_argument("--resume", action="store_true", help="continue the newest unfinished run of this name")


def run(arguments: argparse.Namespace) -> None:
    """Train, and test if `evaluation.after_training` is set."""
    from mdmf.engine.run_folder import RunFolder
    from mdmf.engine.tester import Protocol

    settings = load_settings(arguments.cfg, arguments.overrides)
    RunFolder.check_root(settings)
    workspace = open_workspace(arguments, settings)
    if not settings.model.is_trained:
        print(f"model {settings.model.table_name} has nothing to train", flush=True)
        if settings.evaluation.after_training:
            protocol = Protocol.of(settings)
            report_test(workspace, checkpoint=None, folder=test_folder(settings), protocol=protocol)
        return
    trained = _trained_run(workspace, resume=arguments.resume, progress=not arguments.quiet)
    if settings.evaluation.after_training:
        report_test(workspace, checkpoint=trained.best, folder=trained.folder, protocol=Protocol.of(settings))
    print(f"run folder: {trained.folder}")


def _trained_run(workspace: Workspace, *, resume: bool, progress: bool) -> RunFolder:
    """A finished run of the settings: a resumed one or, without `resume`, a new one."""
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
        print(f"note: {run.folder} is unfinished; --resume continues it", flush=True)

    def open_run() -> RunFolder:
        return run if resume and run is not None else RunFolder.create(settings)

    trainer = make_trainer(workspace, open_run, progress=progress)
    if run is not None and run.finished and not resume:
        print(f"note: {run.folder} is finished and stays as it is", flush=True)
    print(f"training in {trainer.run.folder}", flush=True)
    if resume and run is not None and not run.state.is_file():
        print(f"{run.folder} was stopped before it saved a state: training begins again", flush=True)
    trainer.resume()
    trainer.fit()
    return trainer.run
