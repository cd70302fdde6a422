import json
from pathlib import Path

import numpy as np
import pytest
from result_values import result_values

from mdmf.config import check_settings, dump_settings, load_settings
from mdmf.engine.tester import Protocol, best_text_weight
from mdmf.files import file_sha256


def protocol(**values) -> Protocol:
    return Protocol.of(check_settings(values, source="test"))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "5way_1shot"),
        ({"evaluation": {"n_way": 10, "n_shot": 3}}, "10way_3shot"),
        ({"evaluation": {"n_query": 4, "seed": 2, "split": "val"}}, "val_5way_1shot_4query_seed2"),
        ({"episode": {"n_shot": 5, "group_disjoint": True}}, "5way_5shot_groups"),
        ({"evaluation": {"n_episodes": 20}}, "5way_1shot_20episodes"),
        ({"corrupt": {"rgb": "noise:0.20"}}, "5way_1shot_rgb-noise-0.2"),
        ({"corrupt": {"flow": "missing:1"}}, "5way_1shot_flow-missing-1"),
        ({"corrupt": {"flow": "drop:.5", "rgb": "blur:2"}}, "5way_1shot_rgb-blur-2_flow-drop-0.5"),
        ({"corrupt": {"rgb": "noise:0.1", "seed": 3}}, "5way_1shot_rgb-noise-0.1_seed-3"),
        ({"corrupt": {"seed": 3}}, "5way_1shot"),  # nothing is random then
        ({"corrupt": {"rgb": "drop:0.5"}, "model": {"text_weight": 0.3}}, "5way_1shot_text_0.3_rgb-drop-0.5"),
    ],
)
def test_a_file_name_says_what_is_not_the_default(values, name):
    assert protocol(**values).name == name


RUN = {"data": {"name": "clips", "root": "videos"}}


def test_another_flow_is_other_data():
    run = check_settings(RUN, source="run")
    other = RUN | {"sources": {"flow": {"method": "farneback"}}}
    assert Protocol.of(check_settings(other, source="test"), trained_with=run).other_data


@pytest.mark.parametrize(
    "data",
    [
        {"decoder": "pyav"},
        {"n_workers": 3},
        {"store": "elsewhere"},
        {"flow_store": "elsewhere"},
    ],
)
def test_how_data_are_read_makes_them_no_other_data(data):
    settings = check_settings({"data": RUN["data"] | data}, source="test")
    protocol = Protocol.of(settings, trained_with=check_settings(RUN, source="run"))
    assert (protocol.other_data, protocol.name) == ("", "5way_1shot")


@pytest.mark.parametrize(
    "data",
    [
        {"root": "others"},
        {"name": "others"},
        {"class_split": "random"},
        {"split_seed": 1},
        {"kind": "csv", "csv": "list.csv"},
        {"shapes": {"shake_share": 0.3}},
    ],
)
def test_other_videos_or_splits_are_other_data_and_have_their_own_name(data):
    settings, run = (check_settings(values, source="test") for values in ({"data": RUN["data"] | data}, RUN))
    protocol = Protocol.of(settings, trained_with=run)
    assert protocol.other_data.startswith(f"{settings.data.name}-")
    assert protocol.name == f"5way_1shot_on_{protocol.other_data}"
    assert Protocol.of(settings).other_data == ""  # its own data, if nothing was trained on others


def test_each_of_several_other_data_has_another_name():
    run = check_settings(RUN, source="run")
    names = {
        Protocol.of(check_settings({"data": RUN["data"] | data}, source="test"), trained_with=run).name
        for data in ({}, {"root": "a"}, {"root": "b"}, {"split_seed": 1})
    }
    assert len(names) == 4


def test_a_run_read_back_is_tested_on_its_own_data(tmp_path):
    """Paths and tuples go through YAML on the way."""
    settings = check_settings(
        RUN | {"data": {"root": "videos", "lists": {"test": "a.txt"}, "kind": "lists"}}, source="x"
    )
    (tmp_path / "config.yaml").write_text(dump_settings(settings))
    again = load_settings(tmp_path / "config.yaml")
    assert Protocol.of(again, trained_with=settings).other_data == ""


def test_a_model_changed_after_training_has_a_name_of_its_own():
    run = check_settings(RUN | {"model": {"name": "amfar"}}, source="run")
    changed = check_settings(RUN | {"model": {"name": "amfar", "fusion": "sum"}}, source="test")
    protocol = Protocol.of(changed, trained_with=run)
    assert protocol.other_model
    assert protocol.name == f"5way_1shot_model_{protocol.other_model}"
    assert Protocol.of(run, trained_with=run).other_model == Protocol.of(changed).other_model == ""
    other_weights = Protocol.of(run, trained_with=run, checkpoint=Path("elsewhere/late.safetensors"))
    assert other_weights.name.startswith("5way_1shot_model_late-")


def test_text_at_test_is_no_change_of_the_model():
    run = check_settings(RUN, source="run")
    settings = check_settings(RUN | {"model": {"text_weight": 0.3}}, source="test")
    assert Protocol.of(settings, trained_with=run).name == "5way_1shot_text_0.3"


def test_weights_of_two_other_runs_do_not_write_over_each_other():
    settings = check_settings(RUN, source="run")
    names = {Protocol.of(settings, checkpoint=Path(f"runs/{run}/best.safetensors")).name for run in ("a", "b")}
    assert len(names) == 2


def test_text_weight_is_the_best_on_val_and_the_smallest_of_equals():
    """Of four queries the visual posterior is right on two, the text on the other two and surer of them."""
    labels = np.zeros((4, 1), dtype=int)
    visual = np.array([[[0.9, 0.1]], [[0.9, 0.1]], [[0.4, 0.6]], [[0.4, 0.6]]])
    text = np.array([[[0.3, 0.7]], [[0.3, 0.7]], [[0.8, 0.2]], [[0.8, 0.2]]])
    weight = best_text_weight(visual, text, labels)
    assert 0 < weight < 1
    assert best_text_weight(visual, visual, labels) == 0.0
    perfect = np.array([[[0.9, 0.1]]] * 4)
    assert best_text_weight(perfect, text, labels) == 0.0


def test_a_test_of_other_settings_or_weights_is_written_beside_the_one_that_is_there(tmp_path):
    settings = check_settings(RUN, source="test")
    plain = Protocol.of(settings)
    assert plain.without_overwriting(tmp_path, settings, None) == plain
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(b"a")
    values = settings.model_dump(mode="json")
    result = result_values({"m2df": {}}, settings=values, checkpoint_sha256=file_sha256(weights))
    (tmp_path / f"test_{plain.name}_episodes.npz").touch()
    (tmp_path / f"test_{plain.name}.json").write_text(json.dumps(result))
    assert plain.without_overwriting(tmp_path, settings, weights) == plain
    other = check_settings(RUN | {"sources": {"flow": {"step": 2}}}, source="test")
    names = {
        plain.name,
        plain.without_overwriting(tmp_path, other, weights).name,
        plain.without_overwriting(tmp_path, settings, None).name,
    }
    weights.write_bytes(b"b")
    assert len(names | {plain.without_overwriting(tmp_path, settings, weights).name}) == 4
    (tmp_path / f"test_{plain.name}.json").write_text("{")
    assert (
        plain.without_overwriting(tmp_path, settings, weights) != plain
    )  # what cannot be read is not written over either
