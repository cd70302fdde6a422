import math

from mdmf.report.tables import ablation_table, result_table, text_table

NUMBERS = {"accuracy_percent": 12.345, "interval": 0.678, "branches": {}}
RESULT = {
    "data": "shapes",
    "protocol": {
        **{"split": "test", "n_way": 5, "n_shot": 1, "n_query": 1, "n_episodes": 10_000, "seed": 3},
        "group_disjoint": True,
    },
    "text_weight": 0.3,
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


def test_ablation_shows_means_spreads_and_differences():
    def row(mean: float, difference: float) -> dict:
        return {
            "mean": {"fused": mean, "local alone": 1.0},
            "spread": {"fused": 0.5, "local alone": None},
            "difference": {"mean": difference, "spread": 0.25},
        }

    text = ablation_table({"configs": {"full": row(70, 0), "no_selector": row(66, -4)}, "seeds": [0, 1, 2]})
    assert "70.00 ± 0.50" in text
    assert "-4.00 ± 0.25" in text
    assert "over seeds 0, 1, 2" in text
    assert not any(math.isnan(float(word)) for word in text.split() if word == "nan")
