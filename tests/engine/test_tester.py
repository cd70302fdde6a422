import numpy as np
import pytest

from mdmf.config import check_settings
from mdmf.engine.tester import Protocol, best_text_weight


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
    ],
)
def test_a_file_name_says_what_is_not_the_default(values, name):
    assert protocol(**values).name == name


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
