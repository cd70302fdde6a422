import math

import pytest

from mdmf.report.tables import (
    ablation_table,
    diagnostics_table,
    model_label,
    result_table,
    robustness_table,
    text_table,
)

NUMBERS = {"accuracy_percent": 12.345, "interval": 0.678, "branches": {}}
RESULT = {
    "data": "shapes",
    "protocol": {
        **{"split": "test", "n_way": 5, "n_shot": 1, "n_query": 1, "n_episodes": 10_000, "seed": 3},
        **{"group_disjoint": True, "corrupt": "", "other_data": "", "other_model": ""},
    },
    "text_weight": 0.3,
    "missing": {},
    "notes": ["2 of 9 videos could not be read and were not used"],
    "models": {
        "otam": NUMBERS,
        "m2df": NUMBERS | {"branches": {"local": {"accuracy_percent": 50.0, "interval": 1.0}}},
    },
}


def test_columns_are_aligned():
    table = text_table(["name", "value"], [["a", "1"], ["longer", "22"]])
    assert table.splitlines() == [
        "| name   | value |",
        "|--------|------:|",
        "| a      |     1 |",
        "| longer |    22 |",
    ]


def test_a_result_says_everything_that_a_reader_must_know():
    text = result_table(RESULT)
    for part in (
        "shapes, test classes: 5-way 1-shot, 10,000 episodes of 1 query per class, seed 3",
        "support and query from different recordings",
        "12.35 ± 0.68",
        "50.00 ± 1.00",
        "(2 of 9 videos could not be read and were not used)",
        "(weight of the text at test: 0.3)",
    ):
        assert part in text
    assert len({len(line) for line in text.splitlines() if line.startswith("|")}) == 1


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_other_data_and_missing_sources_are_said():
    protocol = RESULT["protocol"] | {"other_data": "clips-abc123", "corrupt": "flow:missing:0.5"}
    text = result_table(RESULT | {"protocol": protocol, "missing": {"flow": 0.0525, "rgb": 1.0}})
    assert text.splitlines()[0].endswith("than the run")
    assert "(5.2 % of the queries have no flow)" in text or "(5.3 % of the queries have no flow)" in text
    assert "(100.0 % of the queries have no rgb)" in text
    plain = result_table(RESULT)
    assert "than an earlier test" not in plain
    assert "after training" not in plain
    assert "have no" not in plain


def test_a_model_changed_after_training_is_said():
    text = result_table(RESULT | {"protocol": RESULT["protocol"] | {"other_model": "fusion=sum"}})
    assert text.splitlines()[0].endswith(", model changed after training (fusion=sum)")


REPORT = {
    **{"n_disagree": 400, "n_decidable": 300, "by_trust_percent": 71.25, "by_trust_interval": 2.5},
    **{"teacher_percent": 66.7, "teacher_interval": 3.0, "n_taught": 200},
}
TWO_BRANCHES = NUMBERS | {
    "reliability": REPORT,
    "calibration_error": {"fused": 0.101, "rgb": 0.052, "flow": 0.203},
    "gain_correlation": 0.1234,
    "taught_share": {"rgb": 0.6, "flow": 0.25, "none": 0.15, "both": 0.0},
}


def test_what_two_branches_say_of_each_other_stands_in_a_table_of_its_own():
    result = RESULT | {"models": RESULT["models"] | {"amfar": TWO_BRANCHES}}
    table = diagnostics_table(result)
    header, _, *rows = table.splitlines()
    assert cells(header) == [
        *("branches of", "decidable", "trusted is right %", "teacher is right %", "weight-gain r"),
        *("ECE % fused / each", "taught by %"),
    ]
    assert [cells(row) for row in rows] == [
        [
            *("amfar", "300", "71.2 ± 2.5", "66.7 ± 3.0", "0.123", "10.1 / 5.2 / 20.3"),
            "rgb 60.0, flow 25.0, none 15.0",
        ]
    ]
    assert table in result_table(result)


def test_what_is_not_known_is_left_empty():
    """Shares are fixed and nobody teaches, as in late fusion; no query is decidable."""
    report = dict.fromkeys(REPORT) | {"n_disagree": 0, "n_decidable": 0}
    numbers = TWO_BRANCHES | {"reliability": report, "gain_correlation": None}
    del numbers["taught_share"]
    row = diagnostics_table({"models": {"late_fusion": numbers}}).splitlines()[2]
    assert cells(row) == ["late_fusion", "0", "", "", "", "10.1 / 5.2 / 20.3", ""]


def test_without_two_branches_there_is_no_second_table():
    assert diagnostics_table(RESULT) == ""
    rules = [line for line in result_table(RESULT).splitlines() if line.startswith("|--")]
    assert len(rules) == 1


def ablation_row(mean: float, difference: float, spread: float | None = 0.25, **more: float) -> dict:
    return {
        "mean": {"fused": mean, **more},
        "spread": {"fused": spread and 2 * spread, **dict.fromkeys(more)},
        "model": "m2df",
        "difference": {"mean": difference, "spread": spread, "interval": 0.125},
    }


def test_ablation_shows_means_spreads_and_differences():
    rows = {
        "full": ablation_row(70, 0, **{"rgb alone": 1.0}),
        "no_selector": ablation_row(66, -4, **{"local alone": 2.0}),
    }
    text = ablation_table({"configs": rows, "seeds": [0, 1, 2]})
    header, _, full, other = text.splitlines()[:4]
    assert cells(header) == ["config", "fused", "against full", "rgb alone", "local alone"]
    assert cells(full) == ["full", "70.00 ± 0.50", "", "1.00", ""]
    assert cells(other) == ["no_selector", "66.00 ± 0.50", "-4.00 ± 0.25 [±0.12]", "", "2.00"]
    assert "over seeds 0, 1, 2" in text
    assert not any(math.isnan(float(word)) for word in text.split() if word == "nan")


@pytest.mark.parametrize(("difference", "cell"), [(1.5, "+1.50 [±0.12]"), (-1.5, "-1.50 [±0.12]")])
def test_one_seed_has_no_spread_but_an_interval(difference, cell):
    rows = {"full": ablation_row(70, 0, None), "other": ablation_row(70, difference, None)}
    assert cells(ablation_table({"configs": rows, "seeds": [0]}).splitlines()[3]) == ["other", "70.00", cell]


def test_what_is_our_reading_of_a_method_says_so_in_every_table():
    assert "| amfir (our reading) |" in result_table(RESULT | {"models": {"amfir": NUMBERS}})
    row = {"model": "amfir", "mean": {"fused": 1.0}, "spread": {"fused": None}, "difference": {}}
    assert "| gamma_2 (our reading) |" in ablation_table({"configs": {"gamma_2": row}, "seeds": [0]})
    strengths = {"0.0": {"mean": 1.0, "spread": None}}
    robust = {
        "kind": "drop",
        "source": "rgb",
        "strengths": [0.0],
        "rows": {"x": {"model": "amfir", "strengths": strengths}},
    }
    assert "| x (our reading) |" in robustness_table(robust)
    assert model_label("amfar") == "amfar"
