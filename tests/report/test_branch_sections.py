"""Sections of a run on its branches and its features."""

import json
from dataclasses import replace

import pytest
from written_run import write_run

from mdmf.report.branch_sections import branch_section, map_section
from mdmf.report.run_files import read_run
from mdmf.results import FeatureMap

PROMPTED = "each video has its own class's prompt"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return read_run(write_run(tmp_path_factory.mktemp("runs") / "run"))


def feature_map(**values) -> FeatureMap:
    return FeatureMap(**{"when": "after", "of": "local", "explained": [0.5, 0.25], "n_videos": 30} | values)


@pytest.mark.parametrize(
    ("prompted", "selector", "expected"),
    [
        (True, {}, True),
        (False, {"mode": "argmax"}, False),
        (None, {"mode": "argmax"}, True),
        (None, {}, False),
    ],
)
def test_prompts_in_a_feature_map_are_known_from_the_evidence(run, prompted, selector, expected):
    """Older evidence does not tell; there, a model that chooses prompts has them in its features."""
    update = {"embeddings": [feature_map(prompted=prompted)], "selector": selector}
    section = map_section(replace(run, evidence=run.evidence.model_copy(update=update)))
    assert any(PROMPTED in block for block in section.blocks if isinstance(block, str)) == expected


def teaching(folder) -> str:
    return branch_section(read_run(folder)).blocks[0].caption


def test_taught_queries_over_time_are_shown_by_branch_or_for_older_runs_in_total(tmp_path):
    folder = write_run(tmp_path / "run")
    assert "local teaches: from 1 to 38 %; global teaches: from 1 to 38 %" in teaching(folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()[:-1]]
    old = [{key: value for key, value in row.items() if not key.startswith("taught_by_")} for row in rows]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in old))
    assert "taught: from 2 to 75 %" in teaching(folder)
