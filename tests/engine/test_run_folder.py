import json
import shutil

import pytest
from method_cases import SMALL
from small_world import small_settings

from mdmf.config import ConfigError, check_settings
from mdmf.engine.run_folder import RunFolder


def test_a_run_never_writes_over_another(tmp_path):
    settings = small_settings(tmp_path)
    names = [RunFolder.create(settings).folder.name for _ in range(3)]
    assert names == ["small", "small-2", "small-3"]
    assert RunFolder.to_resume(settings).folder.name == "small-3"


def test_resume_takes_the_newest_unfinished_run_also_where_one_was_deleted(tmp_path):
    settings = small_settings(tmp_path)
    assert RunFolder.to_resume(settings) is None
    runs = [RunFolder.create(settings) for _ in range(3)]
    shutil.rmtree(runs[0].folder)
    assert RunFolder.to_resume(settings).folder.name == "small-3"
    runs[2].summary.touch()
    assert RunFolder.to_resume(settings).folder.name == "small-2"
    runs[1].summary.touch()
    assert RunFolder.to_resume(settings).folder.name == "small-3"
    assert RunFolder.create(settings).folder.name == "small"


def test_what_is_recorded_reads_back(tmp_path):
    settings = small_settings(tmp_path)
    run = RunFolder.create(settings)
    assert run.settings() == settings
    assert run.settings(["episode.n_shot=5"]).episode.n_shot == 5
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["seed"] == 0


def test_resume_refuses_other_settings_but_not_where_results_go(tmp_path):
    run = RunFolder.create(small_settings(tmp_path))
    run.check_same(small_settings(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match=r"training\.n_steps: the run has 12, asked for 13"):
        run.check_same(small_settings(tmp_path, n_steps=13))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "m2df", "depth": 2}, r"model\.depth: the run has 1, asked for 2"),
        ({"name": "amfar"}, r"model\.name: the run has 'm2df', asked for 'amfar'"),
        ({"name": "m2df", "text_weight": 0.3}, r"model\.text_weight: the run has 0\.0, asked for 0\.3"),
    ],
)
def test_resume_refuses_another_method_or_other_settings_of_it(tmp_path, model, message):
    run = RunFolder.create(small_settings(tmp_path))
    changed = {**small_settings(tmp_path).model_dump(mode="json"), "model": {**SMALL, **model}}
    with pytest.raises(ConfigError, match=message):
        run.check_same(check_settings(changed, source="test"))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        RunFolder.open(tmp_path)
