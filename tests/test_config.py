import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdmf.config import ConfigError, Settings, dump_settings, find_config, load_settings, setting_names
from mdmf.models.build import build_model
from mdmf.resources import resource_folder

CONFIGS = sorted(resource_folder("configs").rglob("*.yaml"))


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_there_are_configs():
    assert len(CONFIGS) >= 8


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_and_builds_and_begins_with_its_command(path):
    settings = load_settings(path)
    assert settings.output.name == path.stem
    model = build_model(settings, feature_sizes={"rgb": 64})
    assert callable(model)
    first, second = path.read_text().splitlines()[:2]
    assert first.startswith("# python tools/")
    assert path.name in first
    assert second.startswith("# Expected: ")


def test_small_numbers_in_scientific_notation_are_numbers(tmp_path):
    path = write(tmp_path, "training: {learning_rate: 1e-4, weight_decay: 5E-3}\n")
    settings = load_settings(path, ["model.cosine_eps=1e-2"])
    assert (settings.training.learning_rate, settings.training.weight_decay) == (1e-4, 5e-3)
    assert settings.model.cosine_eps == 0.01


def test_every_error_at_once_with_the_nearest_right_key(tmp_path):
    path = write(tmp_path, "training: {learning_rat: 1e-4, n_steps: -1}\nmodle: {}\nepisode: {n_way: five}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, ["training.n_shot=5", "model.condition=visul"])
    message = str(caught.value)
    for part in (
        "has 6 error(s)",
        "training.learning_rat: unknown setting; did you mean training.learning_rate?",
        "training.n_steps: Input should be greater than or equal to 1 (got -1)",
        "modle: unknown setting; did you mean model?",
        "episode.n_way: Input should be a valid integer",
        "training.n_shot: unknown setting; did you mean episode.n_shot?",
        "model.condition: Input should be 'both', 'visual', 'text' or 'none' (got 'visul')",
    ):
        assert part in message


def test_base_is_below_the_file_and_overrides_are_above(tmp_path):
    write(tmp_path, "episode: {n_way: 7, n_shot: 2}\ntraining: {n_steps: 9}\n", "base.yaml")
    path = write(tmp_path, "base: base.yaml\nepisode: {n_shot: 3}\n")
    settings = load_settings(path, ["training.n_steps=11"])
    assert (settings.episode.n_way, settings.episode.n_shot, settings.training.n_steps) == (7, 3, 11)


def test_base_must_exist_and_have_no_base(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"its base 'no\.yaml'"):
        load_settings(write(tmp_path, "base: no.yaml\n"))
    write(tmp_path, "base: other.yaml\n", "base.yaml")
    with pytest.raises(ConfigError, match="at most one is allowed"):
        load_settings(write(tmp_path, "base: base.yaml\n"))


def test_presets_fill_what_is_not_given(tmp_path):
    path = write(tmp_path, "model: {preset: released, condition: visual}\n")
    settings = load_settings(path)
    assert (settings.model.condition, settings.model.direction) == ("visual", "global_to_local")
    assert (settings.frames.rule, settings.model.distill_per_query) == ("linspace_inner", True)
    assert load_settings(path, ["frames.rule=uniform"]).frames.rule == "uniform"
    assert load_settings(path, ["model.preset=paper"]).model.direction == "both"


def test_another_preset_replaces_what_the_old_one_filled_in(tmp_path):
    """Resolved settings name every key; what the old preset did not decide stays."""
    settings = load_settings(write(tmp_path, "model: {preset: released, condition: visual, depth: 2}\n"))
    again = load_settings(write(tmp_path, dump_settings(settings), "run.yaml"), ["model.preset=paper"])
    assert (again.model.direction, again.frames.rule, again.model.video_text_weight) == ("both", "uniform", 0.5)
    assert (again.model.condition, again.model.depth) == ("visual", 2)


def test_off_is_a_word(tmp_path):
    assert load_settings(write(tmp_path, "model: {selector_test: off}\n")).model.selector_test == "off"
    assert load_settings(write(tmp_path, "frames: {flip: true}\n"), ["output.tensorboard=false"]).frames.flip is True


def test_resolved_settings_read_back_the_same(tmp_path):
    settings = load_settings(write(tmp_path, "model: {preset: released, condition: both}\ndata: {root: some/where}\n"))
    assert load_settings(write(tmp_path, dump_settings(settings), "again.yaml")) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("episode: {n_way: 5, n_way: 6}", "key 'n_way' is given twice"),
        ("episode: [", "is not valid YAML"),
        ("- a", "expected sections like 'data:'"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("data: {kind: csv}", r"kind 'csv' needs data\.csv"),
        ("data: {split_fractions: [0.5, 0.5, 0.5]}", "three shares that sum to 1"),
        ("data: {group_pattern: '(a)(b)'}", "needs exactly one"),
        ("data: {group_pattern: '('}", "is no regular expression"),
        ("model: {text_weight: 1.5}", "text_weight must be in"),
        ("model: {views: [local, local]}", "views must be different"),
        ("training: {learning_rate: .inf}", "finite number"),
        ("output: {name: ../up}", "String should match pattern"),
    ],
)
def test_refuses_with_a_reason(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(write(tmp_path, text + "\n"))


@pytest.mark.parametrize("assignment", ["n_shot", "n_shot=5", "episode.n_shot 5", "=3", "episode..n_shot=1"])
def test_refuses_an_override_it_cannot_read(tmp_path, assignment):
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(write(tmp_path, ""), [assignment])


def test_shipped_configs_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("demo") == find_config("configs/demo.yaml") == resource_folder("configs") / "demo.yaml"
    assert find_config("ablation/distill_0.3").stem == "distill_0.3"
    with pytest.raises(FileNotFoundError, match=r"shipped configs are: .*demo"):
        find_config("demmo")


def test_every_setting_has_a_description():
    names = [name for name, field in setting_names() if not field.description]
    assert not names
    assert len(list(setting_names())) > 60
    assert list(Settings.model_fields) == [
        *("data", "frames", "encoder", "episode"),
        *("model", "training", "evaluation", "output"),
    ]


def test_help_answers_within_a_second_and_lists_the_settings():
    tool = Path(__file__).resolve().parents[1] / "tools" / "train.py"
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, str(tool), "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1
    for name, _ in setting_names():
        assert f"{name}=" in done.stdout
