from pathlib import Path

import numpy as np
import pytest

from mdmf.data.sources.imported import ImportedSource
from mdmf.structures import VideoRecord, ViewRule


def contents(folder: Path, **settings) -> dict:
    records = [VideoRecord(f"jump/{name}", Path("nowhere"), "jump", "test") for name in "ab"]
    return ImportedSource(folder=folder, **settings).contents(records)


def test_contents_change_with_what_is_in_the_files_and_not_with_where_they_lie(tmp_path):
    for place, value in (("here", 1.0), ("there", 1.0), ("other", 2.0)):
        (tmp_path / place / "jump").mkdir(parents=True)
        np.save(tmp_path / place / "jump" / "a.npy", np.full((3, 2), value))
    here, there, other = (contents(tmp_path / place) for place in ("here", "there", "other"))
    assert here == there
    assert here["imported"] == other["imported"]
    assert here["feature_files"] != other["feature_files"]  # of the same names and sizes
    assert contents(tmp_path / "here", tokens="mean") != here


def test_what_cuts_and_decodes_videos_decides_nothing():
    source = ImportedSource()
    rules = [ViewRule(n_frames=8), ViewRule(n_frames=8, decoder="pyav", crop_scale_min=0.3, flip=True)]
    assert len({source.used_rule(rule) for rule in rules}) == 1
    assert not source.needs_encoder
    assert not source.uses_frames


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": Path("a"), "files": (Path("b"),)}, "folder or files, not both"),
        ({"encoder": {"model": "x"}}, "imported features have no encoder"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ImportedSource(**settings)


def test_a_place_that_is_not_there_is_told_before_any_video(tmp_path):
    with pytest.raises(ValueError, match=r"is no folder; check the setting sources\.dino\.folder"):
        ImportedSource(folder=tmp_path / "absent").check("dino")
    with pytest.raises(ValueError, match=r"is no file; check the setting sources\.dino\.files"):
        ImportedSource(files=(tmp_path / "absent.h5",)).check("dino")
