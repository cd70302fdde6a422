"""The tables of a test result."""

from result_values import result_values

from mdmf.report.table import Table
from mdmf.report.tables import accuracy_table, diagnostics_table, model_label, protocol_text, result_tables
from mdmf.results import Result

REPORT = {
    **{"n_disagree": 400, "n_decidable": 300, "by_trust_percent": 71.25, "by_trust_interval": 2.5},
    **{"teacher_percent": 66.7, "teacher_interval": 3.0, "n_taught": 200},
}
TWO_BRANCHES = {
    "reliability": REPORT,
    "calibration_error": {"fused": 0.101, "rgb": 0.052, "flow": 0.203},
    "gain_correlation": 0.1234,
    "taught_share": {"rgb": 0.6, "flow": 0.25, "none": 0.15, "both": 0.0},
}
PROTOCOL = {"split": "test", "n_way": 5, "n_shot": 1, "n_query": 1, "n_episodes": 10_000, "seed": 3}


def result(models: dict, *, protocol: dict | None = None, **changes) -> Result:
    """Of the last model."""
    values = result_values(
        models,
        settings={"model": {"name": list(models)[-1]}},
        protocol=PROTOCOL | {"group_disjoint": False} | (protocol or {}),
        **changes,
    )
    return Result.model_validate(values)


BRANCHES = {"branches": {"local": {"accuracy_percent": 50.0, "interval": 1.0}}}
TWO_MODELS = {"otam": {"accuracy_percent": 12.345, "interval": 0.678}, "m2df": BRANCHES}


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_a_row_per_model_with_its_branches():
    table = accuracy_table(result(TWO_MODELS))
    assert table.header == ("model", "accuracy, % (95 %)", "local alone")
    assert texts(table) == [["otam", "12.35 ± 0.68", "–"], ["m2df", "50.00 ± 1.00", "50.00 ± 1.00"]]
    assert table.rows[0][1].value == 12.345
    assert table.rows[1][2].pointer == "/models/m2df/branches/local/accuracy_percent"


def test_the_caption_names_all_that_was_asked():
    plain = "clips, test classes; 5-way 1-shot; 10,000 episodes of 1 query per class; seed 3"
    assert protocol_text(result(TWO_MODELS)) == plain
    changes = {"group_disjoint": True, "corrupt": "flow:missing:0.5", "other_data": "clips-abc", "other_model": "x-1"}
    assert protocol_text(result(TWO_MODELS, protocol=changes, text_weight=0.3)) == (
        f"{plain}; support and query from different recordings; corrupted on purpose: flow:missing:0.5; "
        "other data or settings: clips-abc; other model: x-1; weight of the text 0.3"
    )


def test_notes_stand_under_the_last_table():
    notes = ["2 of 9 videos could not be read and were not used"]
    missing = {"flow": 0.0525, "rgb": 1.0}
    expected = (*notes, "5.2 % of the queries have no flow", "100.0 % of the queries have no rgb")
    (table,) = result_tables(result(TWO_MODELS, notes=notes, missing=missing))
    assert table.notes == expected
    first, second = result_tables(result({"amfar": TWO_BRANCHES}, notes=notes, missing=missing))
    assert (first.notes, second.notes) == ((), expected)


def test_what_two_branches_say_of_each_other_stands_in_a_table_of_its_own():
    table = diagnostics_table(result({"otam": {}, "amfar": TWO_BRANCHES}))
    assert table.header == (
        *("branches of", "decidable", "trusted is right %", "teacher is right %", "weight-gain r"),
        *("ECE % fused / each", "taught by %"),
    )
    row = ["amfar", "300", "71.2 ± 2.5", "66.7 ± 3.0", "0.123", "10.1 / 5.2 / 20.3", "rgb 60.0, flow 25.0, none 15.0"]
    assert texts(table) == [row]


def test_what_is_not_known_is_a_dash():
    """Shares are fixed and nobody teaches, as in late fusion; no query is decidable."""
    report = dict.fromkeys(REPORT) | {"n_disagree": 0, "n_decidable": 0}
    numbers = TWO_BRANCHES | {"reliability": report, "gain_correlation": None, "taught_share": None}
    (row,) = texts(diagnostics_table(result({"late_fusion": numbers})))
    assert row == ["late_fusion", "0", "–", "–", "–", "10.1 / 5.2 / 20.3", "–"]


def test_without_two_branches_there_is_no_second_table():
    assert len(result_tables(result(TWO_MODELS))) == 1


def test_our_reading_of_a_method_is_marked_by_the_result_or_in_older_ones_by_its_name():
    models = {"amfir": {}, "new": {"our_reading": True}, "amfar": {}}
    labels = [model_label(result(models), name) for name in models]
    assert labels == ["amfir (our reading)", "new (our reading)", "amfar"]
    assert model_label(result({"amfir": {"our_reading": False}}), "amfir") == "amfir"
    assert texts(accuracy_table(result(models)))[0][0] == "amfir (our reading)"
    assert texts(diagnostics_table(result({"amfir": TWO_BRANCHES})))[0][0] == "amfir (our reading)"
