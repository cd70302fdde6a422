import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdmf.config import ConfigError, dump_settings, find_config, load_settings, setting_names
from mdmf.models.build import build_model
from mdmf.registry import METHODS
from mdmf.resources import resource_folder
from mdmf.settings import MethodSettings, Settings

CONFIGS = sorted(resource_folder("configs").rglob("*.yaml"))


COMPOSITIONS = [
    "otam, source: depth",
    "late_otam, cosine_eps: 0.5",
    "late_fusion, sources: [depth, rgb], of: {name: temporal_head, n_heads: 2}",
    "early_concat, of: {name: otam, otam_temperature: 0.2}",
    "module, module: 'mine:make', options: {depth: 3}",
]


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_there_are_configs():
    assert len(CONFIGS) >= 8


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(resource_folder("configs")).as_posix())
def test_every_config_loads_and_builds_and_begins_with_its_command(path):
    settings = load_settings(path)
    assert settings.output.name == path.stem
    model = build_model(settings, feature_sizes={"rgb": 64, "flow": 64})
    assert callable(model)
    first, second = path.read_text().splitlines()[:2]
    assert first.startswith("# python tools/")
    assert path.relative_to(resource_folder("configs")).as_posix() in first
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


def test_resolved_settings_of_two_sources_read_back_the_same(tmp_path):
    text = """
        data: {root: some/where, shapes: {shake_share: 0.3}}
        sources: {flow: {method: disk, folder: some/flow, step: 2, encoder: {model: another}}}
        model: {name: amfar, sources: [flow, rgb], strategy: mutual, cross_entropy: all}
        evaluation: {baselines: [flow_otam, late_otam]}
        corrupt: {rgb: noise:0.10, seed: 2}
    """
    settings = load_settings(write(tmp_path, text))
    again = load_settings(write(tmp_path, dump_settings(settings), "again.yaml"), ["output.name=mine"])
    assert again == settings
    assert again.sources["flow"].folder == Path("some/flow")


@pytest.mark.parametrize("model", [*(name for name in METHODS if name != "module"), *COMPOSITIONS])
def test_resolved_settings_of_any_method_read_back_the_same(tmp_path, model):
    settings = load_settings(write(tmp_path, f"model: {{name: {model}}}\n"))
    assert load_settings(write(tmp_path, dump_settings(settings))) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("episode: {n_way: 5, n_way: 6}", "key 'n_way' is given twice"),
        ("episode: [", "is not valid YAML"),
        ("- a", "expected sections like 'data:'"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("data: {kind: csv}", r"kind 'csv' needs data\.csv"),
        ("data: {split_fractions: [0.5, 0.5, 0.5]}", "three shares that sum to 1"),
        ("sources: {flow: {method: disk}}", r"sources\.flow: method 'disk' needs folder"),
        ("sources: {flow: {step: 0}}", r"sources\.flow\.step: Input should be greater than or equal to 1"),
        ("sources: {flow: {clip: 0}}", r"sources\.flow\.clip: Input should be greater than 0"),
        ("sources: {flow: {metod: dis}}", r"sources\.flow\.metod: unknown .*; did you mean sources\.flow\.method\?"),
        ("sources: {motion: {kind: flow, metod: dis}}", r"did you mean sources\.motion\.method\?"),
        ("sources: {depth: {kind: image}}", r"sources\.depth: unknown kind of source 'image'.* Known: .*flow, frames"),
        ("sources: {depth: {folder: maps}}", r"sources\.depth: expected a kind, one of .*flow, frames"),
        ("sources: {a-b: {kind: frames}}", r"sources\.a-b.*: String should match pattern"),
        ("sources: {seed: {kind: frames}}", "a source cannot be named 'seed'"),
        ("sources: [rgb]", "expected settings of named sources under 'sources:', got list"),
        ("corrupt: {depth: drop:0.5}", r"no source 'depth' is declared; the sources are rgb, flow"),
        ("data: {shapes: {camouflage_share: 0.6, shake_share: 0.6}}", "parts of one whole, and sum to more than 1"),
        ("data: {shapes: {shake_share: -0.1}}", "greater than or equal to 0"),
        ("corrupt: {rgb: noize:0.1}", r"corrupt\.rgb: unknown kind of corruption 'noize'; did you mean noise\?"),
        ("corrupt: {flow: drop:2}", r"corrupt\.flow: the strength of drop is a share, at most 1, got 2"),
        ("corrupt: {rgb: noise}", r"corrupt\.rgb: cannot read the corruption 'noise'; expected kind:strength"),
        ("model: {name: amfar, sources: [rgb, rgb]}", "sources must be different"),
        ("model: {name: amfar, sources: []}", r"model\.sources: .*at least 1"),
        ("model: {name: amfr}", r"model: unknown method 'amfr'; did you mean 'amfi?a?r'\? Known: amfar, amfir, "),
        ("model: otamm", r"model: unknown method 'otamm'; did you mean 'otam'"),
        ("model: [otam]", r"model: expected the name of a method or its settings, got \['otam'\]"),
        ("model: {name: otam, source: 2d}", r"model\.source: String should match pattern"),
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


@pytest.mark.parametrize(
    ("model", "foreign", "nearest"),
    [
        ("name: m2df", "strategy: mutual", None),
        ("name: m2df", "distance: prototype", None),
        ("name: m2df", "viws: [local]", "views"),
        ("name: amfar", "views: [local]", None),
        ("name: amfar", "precision: 2", None),
        ("name: amfar", "preset: released", None),
        ("name: amfar", "stratgy: none", "strategy"),
        ("name: amfir", "sample_tests: absolute", None),
        ("name: amfir", "precison: 2", "precision"),
        ("name: amfir", "depth: 2", None),
        ("name: late_fusion", "strategy: none", None),
        ("name: early_attention", "learn_precision: true", None),
        ("name: otam", "views: [local]", None),
        ("name: otam", "otam_temprature: 0.2", "otam_temperature"),
        ("name: zero_shot", "otam_temperature: 0.2", None),
        ("name: flow_bi_mhm", "hidden_size: 8", None),
        ("name: late_prototype", "precision: 2", None),
    ],
)
def test_a_setting_of_another_method_is_refused_and_the_nearest_of_this_one_named(tmp_path, model, foreign, nearest):
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, f"model: {{{model}, {foreign}}}\n"))
    key = foreign.partition(":")[0]
    (line,) = str(caught.value).splitlines()[1:]
    assert line.startswith(f"  model.{key}: unknown setting")
    method = METHODS[{"flow_bi_mhm": "bi_mhm", "late_prototype": "late_fusion"}.get(model[6:], model[6:])]
    if nearest is not None:
        assert line.endswith(f"; did you mean model.{nearest}?")
    elif "did you mean model." in line:  # whatever is named is a setting of this method
        assert line.partition("did you mean model.")[2].removesuffix("?") in method.settings.model_fields


def test_every_error_of_a_method_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, "model: {name: amfar, stratgy: none, hidden_size: 0, distance: dtw, top_k: 2}\n"))
    message = str(caught.value)
    for part in (
        "has 4 error(s)",
        "model.stratgy: unknown setting; did you mean model.strategy?",
        "model.hidden_size: Input should be greater than or equal to 1 (got 0)",
        "model.distance: Input should be 'otam', 'prototype', 'frame_wise' or 'bi_mhm' (got 'dtw')",
        "model.top_k: unknown setting",
    ):
        assert part in message


def test_settings_of_a_wrapped_method_are_held_to_it_too(tmp_path):
    text = "model: {name: late_fusion, of: {name: otam, otam_temprature: 0.2, cosine_eps: -1}}\n"
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text))
    assert "has 2 error(s)" in str(caught.value)
    assert "model.of.otam_temprature: unknown setting; did you mean model.of.otam_temperature?" in str(caught.value)
    assert "model.of.cosine_eps: Input should be greater than or equal to 0 (got -1)" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("name: amfar, sources: [rgb], strategy: mutual", "one source has no use for strategy"),
        ("name: amfir, sources: [flow], fusion: flow", "one source has no use for fusion"),
        ("name: amfir, learn_precision: true", "through the fused answer: set cross_entropy to fused or all"),
        ("name: amfar, head_size: 12", "head_size 12 is not divisible by n_heads=8"),
        ("name: late_fusion, of: m2df, n_heads: 2", "of: m2df replaces the head; remove its settings n_heads"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path, model, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(write(tmp_path, f"model: {{{model}}}\n"))


def test_the_settings_of_a_method_are_taken(tmp_path):
    def model(text: str) -> MethodSettings:
        return load_settings(write(tmp_path, f"model: {{{text}}}\n")).model

    assert model("name: amfar, strategy: mutual, fusion: sum, sample_tests: relative").sample_tests == "relative"
    assert model(
        "name: amfir, precision: 2, selection_margin: 0.1, learn_precision: true, cross_entropy: all"
    ).learn_precision
    assert model("name: amfar, sources: [flow], distance: prototype").sources == ("flow",)
    assert model("name: late_fusion, distance: bi_mhm, head_size: 8").head_size == 8
    assert load_settings(write(tmp_path, "model: otam\n")).model.name == "otam"
    assert load_settings(write(tmp_path, "")).model.name == "m2df"


class TestBaselines:
    def baselines(self, folder: Path, text: str) -> tuple[MethodSettings, ...]:
        return load_settings(write(folder, text)).evaluation.baselines

    def test_those_given_by_name_measure_distances_as_the_model_does(self, tmp_path):
        text = """
            model: {name: amfar, otam_temperature: 0.2, cosine_eps: 0.05, otam_directions: query_to_support}
            evaluation: {baselines: [otam, zero_shot, flow_otam, late_otam]}
        """
        otam, zero_shot, flow, late = self.baselines(tmp_path, text)
        for method in (otam, flow, late.of):
            assert (method.otam_temperature, method.cosine_eps) == (0.2, 0.05)
            assert method.otam_directions == "query_to_support"
        assert zero_shot.cosine_eps == 0.05
        text = "model: {name: late_fusion, of: {name: bi_mhm, cosine_eps: 0.3}}\nevaluation: {baselines: [otam]}\n"
        assert self.baselines(tmp_path, text)[0].cosine_eps == 0.3
        assert (flow.table_name, late.table_name) == ("flow_otam", "late_otam")

    def test_those_given_with_settings_have_those_alone(self, tmp_path):
        text = """
            model: {name: amfar, otam_temperature: 0.2}
            evaluation: {baselines: [{name: otam, source: depth, cosine_eps: 0.5}]}
        """
        (otam,) = self.baselines(tmp_path, text)
        assert (otam.otam_temperature, otam.cosine_eps, otam.table_name) == (0.5, 0.5, "depth_otam")

    @pytest.mark.parametrize(
        ("baselines", "message"),
        [
            ("[otam, m2df]", "m2df: a baseline is a method without training; train it as a run"),
            ("[{name: late_fusion, of: temporal_head}]", "late_temporal_head: a baseline is a method without training"),
            ("[{name: early_attention, of: otam}]", "attention_otam: a baseline is a method without training"),
            ("[otamm]", "unknown method 'otamm'; did you mean 'otam'"),
            (
                "[zero_shot, {name: otam, otam_temprature: 1}]",
                r"baselines\.1\.otam_temprature: .*did you mean evaluation\.baselines\.1\.otam_temperature\?",
            ),
        ],
    )
    def test_refuses_what_is_trained_or_unknown(self, tmp_path, baselines, message):
        with pytest.raises(ConfigError, match=message):
            self.baselines(tmp_path, f"evaluation: {{baselines: {baselines}}}\n")

    def test_a_fusion_of_methods_without_training_is_a_baseline(self, tmp_path):
        names = "[{name: early_concat, of: otam}, {name: amfar, of: otam}]"
        baselines = self.baselines(tmp_path, f"evaluation: {{baselines: {names}}}\n")
        assert [baseline.table_name for baseline in baselines] == ["concat_otam", "amfar_otam"]


def test_a_method_of_the_users_own_has_its_options_and_no_setting_of_another_model(tmp_path):
    def model(text: str) -> MethodSettings:
        return load_settings(write(tmp_path, f"model: {{{text}}}\n")).model

    own = model("name: module, module: 'mine:make', options: {depth: 3}")
    assert (own.options, own.sources) == ({"depth": 3}, ("rgb",))  # flow is dear: only where it is asked for
    assert model("name: module, module: 'mine:make', sources: [rgb, flow]").sources == ("rgb", "flow")
    with pytest.raises(ConfigError, match=r"model\.module: Field required"):
        model("name: module")
    with pytest.raises(ConfigError, match=r"model\.n_heads: unknown setting"):
        model("name: module, module: 'mine:make', n_heads: 4")
    with pytest.raises(ConfigError, match=r"model\.options: unknown setting"):
        model("name: amfar, options: {depth: 3}")


def test_a_source_has_the_encoder_of_all_unless_it_is_said():
    values = {"encoder": {"library": "tiny", "model": "a", "seed": 3}}
    settings = Settings.model_validate(values)
    assert settings.encoder_of("rgb") == settings.encoder_of("flow") == settings.encoder
    encoder = {"model": "b", "precision": "float32"}
    settings = Settings.model_validate({**values, "sources": {"flow": {"encoder": encoder}}})
    assert settings.encoder_of("rgb") == settings.encoder
    flow = settings.encoder_of("flow")
    assert (flow.library, flow.model, flow.precision, flow.seed) == ("tiny", "b", "float32", 3)


def test_a_corruption_has_one_text_in_resolved_settings(tmp_path):
    path = write(tmp_path, "corrupt: {rgb: 'noise: 0.10', flow: 'missing:1.0'}\n")
    settings = load_settings(path)
    assert settings.corrupt.by_source == {"rgb": "noise:0.1", "flow": "missing:1"}
    assert load_settings(path, ["corrupt.rgb=drop:.5"]).corrupt.of("rgb") == "drop:0.5"
    assert load_settings(path, ["corrupt.rgb=''"]).corrupt.of("rgb") == ""


class TestDataOfAnotherConfig:
    """`data.config=other.yaml`: the way to test a run on another data set."""

    RUN = (
        "data: {name: mine, root: my/videos, split_seed: 4}\nepisode: {n_way: 7}\n"
        "sources: {rgb: {store: my/store}, flow: {step: 2, clip: 6, encoder: {model: mine}}}\n"
    )

    def settings(self, folder: Path, other: str, *more: str) -> Settings:
        other_path = write(folder, other, "other.yaml")
        return load_settings(write(folder, self.RUN), [f"data.config={other_path}", *more])

    def test_it_replaces_the_data_section_alone(self, tmp_path):
        settings = self.settings(tmp_path, "data: {name: theirs, root: their/videos}\nepisode: {n_way: 3}\n")
        assert (settings.data.name, settings.data.root, settings.data.split_seed) == ("theirs", Path("their/videos"), 0)
        assert settings.episode.n_way == 7
        assert settings.output.name == "mine"

    def test_how_flow_is_drawn_stays_unless_it_says_so(self, tmp_path):
        flow = self.settings(tmp_path, "data: {name: theirs}\n").sources["flow"]
        assert (flow.step, flow.clip, flow.encoder.model) == (2, 6, "mine")
        flow = self.settings(tmp_path, "sources: {flow: {step: 3}}\n").sources["flow"]
        assert (flow.step, flow.clip, flow.encoder.model) == (3, 20, "mine")

    def test_where_a_source_lies_never_stays(self, tmp_path):
        settings = self.settings(tmp_path, "data: {name: theirs}\nsources: {flow: {store: their/flow}}\n")
        assert settings.sources["rgb"].store is None
        flow = settings.sources["flow"]
        assert (flow.store, flow.step) == (Path("their/flow"), 2)

    def test_overrides_are_above_it_wherever_they_stand(self, tmp_path):
        settings = self.settings(tmp_path, "data: {name: theirs}\n", "data.root=here", "sources.flow.step=5")
        assert (settings.data.name, settings.data.root) == ("theirs", Path("here"))
        assert (settings.sources["flow"].step, settings.sources["flow"].clip) == (5, 6)
        other = f"data.config={tmp_path / 'other.yaml'}"
        assert load_settings(tmp_path / "mine.yaml", ["data.root=here", "sources.flow.step=5", other]) == settings

    def test_its_base_counts(self, tmp_path):
        write(tmp_path, "data: {name: theirs, root: a}\n", "base.yaml")
        settings = self.settings(tmp_path, "base: base.yaml\ndata: {root: b}\n")
        assert (settings.data.name, settings.data.root) == ("theirs", Path("b"))

    def test_a_shipped_config_is_found_by_name(self, tmp_path):
        settings = load_settings(write(tmp_path, self.RUN), ["data.config=complementary"])
        assert (settings.data.kind, settings.data.shapes.shake_share) == ("shapes", 0.3)

    def test_one_that_is_not_there_or_wrong_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no config 'nowhere'"):
            load_settings(write(tmp_path, self.RUN), ["data.config=nowhere"])
        with pytest.raises(ConfigError, match=r"data\.nam: unknown setting; did you mean data\.name"):
            self.settings(tmp_path, "data: {nam: theirs}\n")

    @pytest.mark.parametrize("other", ["data: [a]\n", "data: videos\n"])
    def test_a_data_section_that_is_none_is_refused(self, tmp_path, other):
        with pytest.raises(ConfigError, match="data"):
            self.settings(tmp_path, other)

    def test_no_name_is_refused(self, tmp_path):
        with pytest.raises((ConfigError, FileNotFoundError), match="config"):
            load_settings(write(tmp_path, self.RUN), ["data.config="])


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
        *("data", "sources", "frames", "encoder", "episode"),
        *("model", "training", "evaluation", "corrupt", "output"),
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


def test_settings_of_a_method_that_is_given_by_its_name_alone(tmp_path):
    """A setting on the command line is one of this method, not of the default one."""
    model = load_settings(write(tmp_path, "model: otam\n"), ["model.source=flow"]).model
    assert (model.name, model.source) == ("otam", "flow")
    wrapping = load_settings(
        write(tmp_path, "model: {name: late_fusion, of: otam}\n"), ["model.of.otam_temperature=0.2"]
    ).model
    assert (wrapping.of.name, wrapping.of.otam_temperature) == ("otam", 0.2)


def test_a_mistyped_model_is_one_error(tmp_path):
    with pytest.raises(ConfigError, match=r"has 1 error\(s\):\n  model: "):
        load_settings(write(tmp_path, "model: {name: amfr}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: {flow: {folder: flows}}", "folder is read with method=disk only"),
        ("sources: {rgb: {store: a}, flow: {store: a}}", "sources.rgb and sources.flow have the same store"),
        (
            "sources: {flow: {method: disk, folder: flows}}\ncorrupt: {flow: 'noise:0.1'}",
            "acts on frames, and source 'flow' is not made from frames",
        ),
    ],
)
def test_settings_of_flow_that_do_not_go_together(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(write(tmp_path, text + "\n"))


def test_another_kind_of_source_drops_the_settings_of_the_old_one(tmp_path):
    path = write(tmp_path, "sources: {flow: {step: 2, clip: 6}}\n")
    assert load_settings(path, ["sources.flow.kind=frames"]).sources["flow"].kind == "frames"
    same = load_settings(path, ["sources.flow.kind=flow", "sources.flow.clip=7"]).sources["flow"]
    assert (same.step, same.clip) == (2, 7)


def test_sources_keep_their_order_after_the_default_ones(tmp_path):
    settings = load_settings(write(tmp_path, "sources: {z: {kind: frames}, flow: {step: 2}, a: {kind: flow}}\n"))
    assert list(settings.sources) == ["rgb", "flow", "z", "a"]
    again = load_settings(write(tmp_path, dump_settings(settings), "again.yaml"), ["output.name=mine"])
    assert again == settings


def test_one_name_is_a_list_of_one(tmp_path):
    overrides = ["model.name=amfar", "model.sources=rgb", "evaluation.baselines=otam"]
    settings = load_settings(write(tmp_path, "{}"), overrides)
    assert settings.model.used_sources == ("rgb",)
    assert [baseline.name for baseline in settings.evaluation.baselines] == ["otam"]


def test_modalities_of_a_method_of_one_source_are_its_source(tmp_path):
    assert load_settings(write(tmp_path, "{}"), ["model.modalities=[flow]"]).model.used_sources == ("flow",)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="model: name: expected the name of a method, got None"):
        load_settings(write(tmp_path, "{}"), ["model.name="])
