"""A whole test result with few numbers, for tests of what reads one."""

from typing import Any

PROTOCOL = {
    **{"split": "test", "n_way": 5, "n_shot": 1, "n_query": 1, "n_episodes": 10, "seed": 0, "group_disjoint": False},
    **{"text_weight": 0.0, "corrupt": "", "other_data": "", "other_model": ""},
}


def result_values(models: dict[str, Any], *, settings: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a test writes; each model has a half of everything where nothing else is said."""
    numbers = {"accuracy_percent": 50.0, "interval": 1.0, "per_class_percent": {}, "branches": {}}
    return {
        "data": "clips",
        "model": settings.get("model", {}).get("name", list(models)[-1]),
        "protocol": dict(PROTOCOL),
        "checkpoint": None,
        "checkpoint_sha256": None,
        "settings": settings,
        "text_weight": 0.0,
        "notes": [],
        "missing": {},
        "models": {name: numbers | own for name, own in models.items()},
        "environment": {},
    } | changes
