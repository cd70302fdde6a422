from pathlib import Path
from typing import Any

import pytest

from mdmf.data.sources.flow import FlowSource


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "disk"}, "method 'disk' needs folder"),
        ({"folder": Path("flows")}, "folder is read with method=disk only, and method is 'dis'"),
        ({"method": "raft"}, "method\n.*'disk'"),
        ({"clip": 0}, "clip\n"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowSource(**settings)


def test_contents_say_how_flow_is_made_and_which_settings_decide_nothing() -> None:
    computed, disk = FlowSource(step=2), FlowSource(method="disk", folder=Path("nowhere"))
    assert list(computed.contents([])["flow"]) == [
        *("method", "step", "camera", "clip", "drawing", "short_side", "disk_bound")
    ]
    assert computed.contents([]).keys() == {"flow"}
    assert disk.contents([]).keys() == {"flow", "flow_files"}
    assert computed.unused_contents == {"flow.disk_bound"}
    assert disk.unused_contents == {"flow.step", "flow.short_side"}


def test_a_method_that_is_not_installed_or_a_folder_that_is_not_there_is_told_before_any_video(tmp_path: Path) -> None:
    FlowSource().check("flow")
    FlowSource(method="disk", folder=tmp_path).check("flow")
    with pytest.raises(ValueError, match=r"check the setting sources\.motion\.folder"):
        FlowSource(method="disk", folder=tmp_path / "absent").check("motion")
