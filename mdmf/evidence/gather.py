"""Evidence: the parts of a report that need the model, such as chosen prompts, feature maps and story boards.

`gather_evidence` repeats episodes of a test with features of the feature store, and writes the evidence next to the
result. Nothing is encoded or trained. A part whose data are missing is listed with the reason, which the report shows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mdmf.engine.diagnostics import calibration_curve
from mdmf.evidence.feature_maps import feature_maps, selector_choices
from mdmf.evidence.opened_test import DoesNotApply, open_test
from mdmf.evidence.story_boards import story_boards
from mdmf.report.run_files import RunFiles
from mdmf.results import EVIDENCE_PARTS, Answers, Arrays, Evidence, write_evidence

FORMAT = 2


def gather_evidence(run: RunFiles, *, allow_code: bool = False) -> RunFiles:
    """Gather and write the evidence of a test, unless its complete evidence exists.

    Args:
        run: files of a run, or of a test without a run.
        allow_code: let settings import the user's method, which runs its code.

    Returns:
        The run with its evidence, in which `missing` and `not_applicable` have the reasons of missing parts.
    """
    old = run.evidence if run.evidence.format == FORMAT else None
    if old is not None and not _n_missing(old):
        return run
    evidence, arrays = _gather(run, allow_code=allow_code)
    if old is not None and _n_missing(old) < _n_missing(evidence):
        return run  # data have been deleted since
    return replace(run, evidence=write_evidence(run.files, evidence, arrays), evidence_arrays=arrays)


def _n_missing(evidence: Evidence) -> int:
    """Number of missing parts and of videos without frames."""
    return len(evidence.missing) + (0 if evidence.boards is None else len(evidence.boards.frame_problems))


def _gather(run: RunFiles, *, allow_code: bool) -> tuple[Evidence, Arrays]:
    """The evidence; a part that fails is listed with the reason and does not affect the others."""
    record: dict[str, Any] = {"format": FORMAT, "protocol": run.files.protocol, "model": run.model}
    record |= {"not_applicable": {}, "missing": {}}
    if run.episodes is None:
        reason = f"the test's episodes cannot be read: {run.episodes_problem}"
        return Evidence(**record | {"missing": dict.fromkeys(EVIDENCE_PARTS, reason)}), {}
    record["calibration"] = calibration(run.episodes.answers[run.model], run.episodes.labels)
    try:
        opened = open_test(run.files.folder, run.result, run.episodes, allow_code=allow_code)
    except (ValueError, OSError) as error:
        return Evidence(**record | {"missing": dict.fromkeys(EVIDENCE_PARTS[1:], str(error))}), {}
    arrays: Arrays = {}
    for part, make in (("selector", selector_choices), ("embeddings", feature_maps), ("boards", story_boards)):
        try:
            record[part], arrays_of_part = make(opened)
            arrays |= arrays_of_part
        except DoesNotApply as reason:
            record["not_applicable"][part] = str(reason)
        except (ValueError, OSError) as error:
            record["missing"][part] = str(error)
    return Evidence(**record), arrays


def calibration(answers: Answers, labels: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """`fused` and each branch -> calibration curve of the saved answers."""
    posteriors = {"fused": answers.posterior, **answers.branch_posteriors}
    return {name: calibration_curve(posterior, labels) for name, posterior in posteriors.items()}
