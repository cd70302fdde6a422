"""Evidence on features in memory; from a run folder to a page: tests/commands/test_report.py."""

import json

import numpy as np
from result_values import result_values

from mdmf.evidence.gather import calibration, gather_evidence
from mdmf.report.run_files import read_run
from mdmf.results import Answers, ResultFiles, read_evidence


def test_calibration_is_that_of_the_saved_answers_of_the_answer_and_each_branch():
    answers = Answers(
        posterior=np.array([[[0.75, 0.25], [0.75, 0.25]]], dtype=np.float16),
        predictions=np.array([[0, 0]]),
        branch_posteriors={"rgb": np.array([[[0.5, 0.5], [0.25, 0.75]]], dtype=np.float16)},
    )
    curves = calibration(answers, np.array([[0, 1]]))
    assert list(curves) == ["fused", "rgb"]
    (both,) = curves["fused"]
    assert (both["n"], both["accuracy"], both["confidence"]) == (2, 0.5, 0.75)
    assert sum(one["n"] for one in curves["rgb"]) == 2


def test_without_any_file_but_the_result_every_part_says_why(tmp_path):
    result = result_values({"otam": {}}, settings={"model": {"name": "otam"}})
    files = ResultFiles(tmp_path, "a")
    files.result.write_text(json.dumps(result))
    run = gather_evidence(read_run(tmp_path))
    assert set(run.evidence.missing) == {"calibration", "selector", "embeddings", "boards"}
    assert all("the test's episodes cannot be read" in reason for reason in run.evidence.missing.values())
    assert read_evidence(files)[0] == run.evidence
