"""Decoding videos in worker processes. Imports no torch, pandas or OpenCV: every worker imports this module.

A spawned worker also imports the main script: one that imports torch at its top costs each worker seconds, so a command
does that inside its main function.

Workers are spawned, never forked (decord hangs in a fork), ignore Ctrl-C (the parent ends them) and die with their
parent however it dies. A video that crashes the process that decodes it costs that video, not the run.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from mdmf.data.views.loader import ClipViews, NoViews, SourceView, reason_of
from mdmf.structures import ViewRule

logger = logging.getLogger(__name__)

ClipLoader = Callable[..., ClipViews]


@dataclass(frozen=True)
class DecodeTask:
    """One video: what the loader is called with (see `load_clip_views`)."""

    path: Path
    video_id: str
    sources: Mapping[str, SourceView]
    rule: ViewRule


@dataclass(frozen=True)
class BadVideo:
    """In the place of the views of a video that cannot be decoded; `problems` are the reasons of single sources."""

    reason: str
    problems: dict[str, str] = field(default_factory=dict)


Decoded = ClipViews | BadVideo
Submitted = list[tuple[DecodeTask, "Future[Decoded] | None"]]


class DecodePool:
    """Decodes batches of videos, ahead of the caller with `n_workers` > 0, in the caller's own process with 0.

    With 0 workers a video that crashes its decoder ends the caller: give at least 1 where that can happen.
    """

    def __init__(self, load: ClipLoader, *, n_workers: int) -> None:
        if n_workers < 0:
            raise ValueError(f"n_workers must be at least 0, got {n_workers}")
        self._load = load
        self._n_workers = n_workers
        self._workers: ProcessPoolExecutor | None = None
        self._lone_worker: ProcessPoolExecutor | None = None

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for executor in (self._workers, self._lone_worker):
            if executor is not None:
                executor.shutdown(cancel_futures=True)

    def submit(self, tasks: Sequence[DecodeTask]) -> Submitted:
        """Start decoding some videos; returns at once."""
        if self._n_workers == 0:
            return [(task, None) for task in tasks]
        return [(task, self._submit_one(task)) for task in tasks]

    def collect(self, submitted: Submitted) -> list[Decoded]:
        """The views of the videos of one `submit`, in its order; waits for them.

        Raises:
            RuntimeError: if the workers cannot start, or the loader fails in a way that is no video's fault.
        """
        return [self._result(task, future) for task, future in submitted]

    def _submit_one(self, task: DecodeTask) -> Future[Decoded]:
        if self._workers is None:
            self._workers = _start(self._n_workers)
        try:
            return self._workers.submit(decode, self._load, task)
        except BrokenProcessPool:
            self._workers = _start(self._n_workers)
            return self._workers.submit(decode, self._load, task)

    def _result(self, task: DecodeTask, future: Future[Decoded] | None) -> Decoded:
        if future is None:
            return decode(self._load, task)
        try:
            return future.result()
        except BrokenProcessPool:  # this video or one that was decoded at the same time
            return self._decode_alone(task)

    def _decode_alone(self, task: DecodeTask) -> Decoded:
        """Decode a video in a process of its own: if that dies, it was this video, or what one of its sources asks."""
        if self._lone_worker is None:
            self._lone_worker = _start(1)
            _check_alive(self._lone_worker)
        try:
            return self._lone_worker.submit(decode, self._load, task).result()
        except BrokenProcessPool:
            self._lone_worker = None
        if len(task.sources) < 2:
            logger.warning("video %s crashed the process that decoded it", task.video_id)
            return BadVideo("it crashed the process that decoded it")
        return _together({name: self._decode_alone(_of_source(task, name)) for name in task.sources})


def _of_source(task: DecodeTask, source: str) -> DecodeTask:
    return replace(task, sources={source: task.sources[source]})


def _together(decoded: dict[str, Decoded]) -> Decoded:
    """What was decoded source by source, as if it had been decoded at once."""
    problems = {source: one.reason for source, one in decoded.items() if isinstance(one, BadVideo)}
    good = {source: one for source, one in decoded.items() if isinstance(one, ClipViews)}
    if not good:
        return BadVideo(next(iter(problems.values())), problems)
    some = next(iter(good.values()))
    return replace(some, views={source: one.views[source] for source, one in good.items()}, problems=problems)


def decode(load: ClipLoader, task: DecodeTask) -> Decoded:
    """Decode one video. What is wrong with it (`ValueError`, `OSError`) is a result; anything else is an error of ours.

    Raises:
        RuntimeError: naming the video.
    """
    try:
        return load(task.path, video_id=task.video_id, sources=task.sources, rule=task.rule)
    except NoViews as error:
        return BadVideo(reason_of(error), error.problems)
    except (ValueError, OSError) as error:
        return BadVideo(reason_of(error))
    except Exception as error:
        raise RuntimeError(f"decoding video {task.video_id!r} failed: {type(error).__name__}: {error}") from error


def _start(n_workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker)


def _check_alive(executor: ProcessPoolExecutor) -> None:
    """Tell a machine on which no worker starts from a video that kills its worker."""
    try:
        executor.submit(os.getpid).result()
    except BrokenProcessPool:
        raise RuntimeError(
            "decode workers die as soon as they start (their own messages are above); in a script, start the "
            "extraction under `if __name__ == '__main__':`, or decode with n_workers=0"
        ) from None


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
