"""The files of a test: what is written reads back, and what is damaged or foreign is refused with its reason."""

import json

import numpy as np
import pytest
from result_values import result_values

from mdmf.files import file_sha256
from mdmf.results import (
    Answers,
    Episodes,
    Evidence,
    Result,
    ResultFiles,
    find_tests,
    read_arrays,
    read_episodes,
    read_evidence,
    read_result,
    write_evidence,
    write_test,
)

BRANCH = {"accuracy_percent": 40.0, "interval": 2.0}
REPORT = {
    **{"n_disagree": 4, "n_decidable": 3, "by_trust_percent": 50.0, "by_trust_interval": 30.0},
    **{"teacher_percent": None, "teacher_interval": None, "n_taught": None},
}
NUMBERS = {
    **{
        "per_class_percent": {"clap": 50.0, "jump": None, "wave": 25.0},
        "branches": {"local": BRANCH, "global": BRANCH},
    },
    **{"calibration_error": {"fused": 0.25}, "gain_correlation": None, "reliability": REPORT},
    "taught_share": {"local": 0.25, "none": 0.75},
}
WHOLE = result_values({"otam": {"per_class_percent": NUMBERS["per_class_percent"]}, "m2df": NUMBERS}, settings={})
WHOLE["settings"] = {"model": {"name": "m2df"}}
WHOLE["protocol"] |= {"n_way": 2, "n_shot": 2, "n_query": 1, "n_episodes": 3}


@pytest.fixture
def files(tmp_path) -> ResultFiles:
    return ResultFiles(tmp_path, "2way_2shot")


def episodes() -> Episodes:
    """Three episodes of 2 of 3 classes with 2 + 1 videos."""
    rng = np.random.default_rng(0)
    videos = np.arange(18).reshape(3, 6)
    posterior = rng.dirichlet([1, 1], size=(3, 2))
    plain = Answers(posterior, posterior.argmax(-1))
    branches = {"local": posterior[::-1], "global": posterior[:, ::-1]}
    weights = {"local": posterior[..., 0], "global": posterior[..., 1]}
    teacher = np.array([[0, 1], [-1, -2], [0, 0]], dtype=np.int8)
    return Episodes(
        class_ids=np.array([[2, 0], [1, 2], [0, 1]]),
        support=videos[:, :4].reshape(3, 2, 2),
        query=videos[:, 4:],
        labels=np.array([[0, 1], [1, 0], [0, 1]]),
        video_ids=np.array([f"{number}.mp4" for number in range(18)], dtype=object),
        answers={"otam": plain, "m2df": Answers(posterior, posterior.argmax(-1), branches, weights, teacher)},
    )


def without(*path: str) -> dict:
    """The whole result, less one key."""
    changed = json.loads(json.dumps(WHOLE))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return changed


def test_a_result_reads_back_with_its_keys_in_order(files):
    write_test(files, Result.model_validate(WHOLE), episodes())
    assert json.dumps(json.loads(files.result.read_text())) == json.dumps(WHOLE)
    result = read_result(files.result)
    assert result.as_json() == WHOLE
    assert (result.model, result.classes) == ("m2df", ["clap", "jump", "wave"])
    assert result.models["m2df"].reliability.by_trust_percent == 50.0
    assert result.models["otam"].reliability is None


def test_what_a_later_version_adds_is_kept(files):
    values = WHOLE | {"added": [1], "models": WHOLE["models"] | {"m2df": NUMBERS | BRANCH | {"added": {"a": None}}}}
    files.result.write_text(json.dumps(values))
    assert read_result(files.result).as_json() == values


def test_episodes_read_back(files):
    written = episodes()
    write_test(files, Result.model_validate(WHOLE), written)
    read = read_episodes(files.episodes, read_result(files.result))
    for name in ("class_ids", "support", "query", "labels", "video_ids"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert read.query_classes.tolist() == [[2, 0], [2, 1], [0, 1]]
    assert list(read.answers) == ["otam", "m2df"]
    before, after = written.answers["m2df"], read.answers["m2df"]
    np.testing.assert_array_equal(after.predictions, before.predictions)
    np.testing.assert_array_equal(after.teacher, before.teacher)
    np.testing.assert_array_equal(after.posterior, before.posterior.astype(np.float16))
    for name in ("branch_posteriors", "fusion_weights"):
        assert list(getattr(after, name)) == ["local", "global"]
        for branch, values in getattr(before, name).items():
            np.testing.assert_array_equal(getattr(after, name)[branch], values.astype(np.float16))
    assert (read.answers["otam"].branch_posteriors, read.answers["otam"].teacher) == ({}, None)


def test_the_file_of_episodes_holds_plain_arrays_of_small_types(files):
    write_test(files, Result.model_validate(WHOLE), episodes())
    types = {name: str(values.dtype) for name, values in read_arrays(files.episodes).items()}
    assert types == {
        **{"class_ids": "int32", "video_ids": "<U6", "support_videos": "int32", "query_videos": "int32"},
        **{"query_labels": "int16", "otam/predictions": "int16", "otam/posterior": "float16"},
        **{"m2df/predictions": "int16", "m2df/posterior": "float16", "m2df/teacher": "int8"},
        **{f"m2df/{branch}/{what}": "float16" for branch in ("local", "global") for what in ("posterior", "weight")},
    }


def test_the_tested_model_is_named_as_in_the_tables(tmp_path):
    """A composition is written by another name in the settings than in tables; 0.1 had one name for both."""
    assert Result.model_validate({key: value for key, value in WHOLE.items() if key != "model"}).model == "m2df"
    path = tmp_path / "test_x.json"
    settings = {"model": {"name": "otam", "source": "flow"}}
    path.write_text(json.dumps(result_values({"otam": {}, "flow_otam": {}}, settings=settings, model="flow_otam")))
    assert read_result(path).model == "flow_otam"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("[]", "content: "),
        ("{", "JSONDecodeError"),
        ("[" * 100_000, "RecursionError"),
        (without("notes"), "notes"),
        (without("protocol", "seed"), "protocol.seed"),
        (without("models", "m2df", "interval"), "models.m2df.interval"),
        (without("models", "m2df", "branches", "local", "accuracy_percent"), "models.m2df.branches.local"),
        (without("models", "m2df", "reliability", "n_decidable"), "models.m2df.reliability.n_decidable"),
        (without("model") | {"settings": {}}, "model: Field required"),
        (WHOLE | {"text_weight": "0.5"}, "text_weight: Input should be a valid number"),
        (WHOLE | {"models": {}}, "expected numbers of model 'm2df'"),
        (WHOLE | {"model": "flow_otam"}, "expected numbers of model 'flow_otam'"),
    ],
)
def test_what_is_no_result_is_named_with_the_place(tmp_path, content, place):
    path = tmp_path / "test_x.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=r"test_x.json is not the result of a test \(.*; test again") as caught:
        read_result(path)
    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("query_labels", None, "'query_labels is not a file in the archive'|'query_labels'"),
        ("m2df/predictions", None, "'m2df/predictions'"),
        ("m2df/local/posterior", None, "'m2df/local/posterior'"),
        ("video_ids", None, "'video_ids'"),
        ("m2df/predictions", lambda values: values + 2, "expected values of m2df/predictions in 0..1"),
        (
            "otam/predictions",
            lambda values: values * 1.0,
            r"expected otam/predictions \(3, 2\) of integers, got .* float",
        ),
        (
            "m2df/predictions",
            lambda values: values[:2],
            r"expected m2df/predictions \(3, 2\) of integers, got \(2, 2\)",
        ),
        ("class_ids", lambda values: values[0], r"expected class_ids \(3, 2\) of integers, got \(2,\)"),
        ("class_ids", lambda values: values - 1, "expected values of class_ids in 0..2"),
        ("query_labels", lambda values: values[:-1], r"expected query_labels \(3, 2\)"),
        ("query_videos", lambda values: values + 18, "expected values of query_videos in 0..17"),
        ("support_videos", lambda values: values[:, :, :1], r"expected support_videos \(3, 2, 2\)"),
        ("m2df/posterior", lambda values: values[..., :1], r"expected m2df/posterior \(3, 2, 2\), got \(3, 2, 1\)"),
    ],
)
def test_episodes_that_do_not_belong_to_the_result_are_refused(files, name, change, reason):
    result = Result.model_validate(WHOLE)
    write_test(files, result, episodes())
    arrays = read_arrays(files.episodes)
    values = arrays.pop(name)
    np.savez(files.episodes, **arrays, **({} if change is None else {name: change(values)}))
    with pytest.raises(ValueError, match=f"_episodes.npz does not fit the result of its test .*{reason}.*; test again"):
        read_episodes(files.episodes, result)


def test_damaged_arrays_are_refused_and_nothing_in_them_is_run(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, fine=np.arange(1000))
    whole = path.read_bytes()
    for broken in (b"", whole[:200], whole[:-30], b"no archive"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"a\.npz is damaged"):
            read_arrays(path)
    np.savez(path, evil=np.array([print], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz is damaged .*allow_pickle"):
        read_arrays(path)
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "b.npz")


EVIDENCE = {
    **{"format": 2, "protocol": "2way_2shot", "model": "m2df", "not_applicable": {"selector": "no"}, "missing": {}},
    "calibration": {"fused": [{"lower": 0.5, "upper": 1.0, "n": 3, "accuracy": 0.5, "confidence": 0.75}]},
    "embeddings": [{"when": "before", "of": "rgb", "explained": [0.5, 0.25], "n_videos": 30}],
    "boards": {
        **{"strips": ["a.mp4"], "frame_problems": {"b.mp4": "gone"}, "n_shot": 1, "n_frames": 4},
        "boards": [
            {
                **{"kind": "best", "episode": 1, "query": 0, "n_way": 2, "query_video": "a.mp4"},
                **{"true_class": "clap", "answer": "clap", "teacher": None},
                "rows": [
                    {
                        **{"class": "clap", "video": "b.mp4", "posterior": 0.5},
                        **{"distances": {"local": -1.5}, "branch_posteriors": {}},
                    }
                ],
            }
        ],
    },
}


def test_evidence_reads_back_with_its_arrays(files):
    write_test(files, Result.model_validate(WHOLE), episodes())
    evidence = write_evidence(files, Evidence.model_validate(EVIDENCE), {"frames/ends": np.arange(3)})
    written = json.loads(files.evidence.read_text())
    digests = {"result_sha256": file_sha256(files.result), "arrays_sha256": file_sha256(files.evidence_arrays)}
    assert json.dumps(written, sort_keys=True) == json.dumps(EVIDENCE | digests, sort_keys=True)  # 3 is not 3.0
    read, arrays = read_evidence(files)
    assert read == evidence
    assert read.boards.boards[0].rows[0].class_name == "clap"
    assert arrays["frames/ends"].tolist() == [0, 1, 2]


def test_evidence_of_another_result_or_arrays_is_refused(files):
    write_test(files, Result.model_validate(WHOLE), episodes())
    for path in (files.result, files.evidence_arrays):
        write_evidence(files, Evidence.model_validate(EVIDENCE), {})
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(ValueError, match="the evidence is of another test result"):
            read_evidence(files)
    files.evidence.write_text(json.dumps(EVIDENCE | {"embeddings": [{"when": "before"}]}))
    with pytest.raises(
        ValueError, match=r"is not the evidence of a test \(embeddings.0.of: Field required\); delete it"
    ):
        read_evidence(files)
    files.evidence.unlink()
    with pytest.raises(FileNotFoundError):
        read_evidence(files)


def test_the_tests_of_a_folder_are_found_by_their_results(tmp_path):
    for name in ("test_b.json", "test_a.json", "test_a_episodes.npz", "evidence_a.json", "training.json"):
        (tmp_path / name).touch()
    assert [files.protocol for files in find_tests(tmp_path)] == ["a", "b"]
    assert find_tests(tmp_path / "nowhere") == []
