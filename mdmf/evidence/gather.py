"""What a report shows beside a test's numbers and needs the model for: prompts chosen, story boards, feature maps.

`gather_evidence` answers some episodes of a test again from the feature store, and writes the evidence beside the
result. Nothing is encoded or trained, and no world is drawn: what is not there any more is named, with the reason, and
the report says so in its place.
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
    """Gather and write the evidence of a test; what is whole and of the same test already is left as it is.

    Args:
        run: a run folder, or that of a test without a run.
        allow_code: whether a method of the user's own may be imported, which runs its code.

    Returns:
        The run with its evidence: `missing` and `not_applicable` name what it lacks, and why.
    """
    old = run.evidence if run.evidence.format == FORMAT else None
    if old is not None and not _n_lacking(old):
        return run
    evidence, arrays = _gather(run, allow_code=allow_code)
    if old is not None and _n_lacking(old) < _n_lacking(evidence):
        return run  # what was there when it was made is gone by now
    return replace(run, evidence=write_evidence(run.files, evidence, arrays), evidence_arrays=arrays)


def _n_lacking(evidence: Evidence) -> int:
    """Parts that are missing, and videos without frames."""
    return len(evidence.missing) + (0 if evidence.boards is None else len(evidence.boards.frame_problems))


def _gather(run: RunFiles, *, allow_code: bool) -> tuple[Evidence, Arrays]:
    """Every part that can be made; a part that fails names its reason and leaves the others alone."""
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
    """`fused` and each branch -> accuracy by confidence, from the test's own answers."""
    posteriors = {"fused": answers.posterior, **answers.branch_posteriors}
    return {name: calibration_curve(posterior, labels) for name, posterior in posteriors.items()}
