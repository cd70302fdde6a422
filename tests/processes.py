"""Processes for tests that kill them or let several share work: a start takes a tenth of a second, not seconds."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess

IMPORTED_ONCE = ["pytest", "torch._dynamo", "mdmf.engine.trainer", "mdmf.data.features.extractor"]
"""What the server of new processes imports: every optimizer imports torch._dynamo."""


def start_process(target: Callable[..., object], *arguments: object) -> BaseProcess:
    """A new process that calls `target`; `target` must be importable by its name.

    It is forked from a server that has imported torch and used none of its threads, so that nothing of the calling
    process is in it, and it may be killed. Its working folder is that in which the tests were started.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_ONCE)
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
