"""Bad input of `mdmf train` and `mdmf test`: each error names the problem and the remedy."""

import shutil

import pytest
from small_commands import SMALL, error_of, small

from mdmf.cli import main
from mdmf.shapes.world import SHAPES_SPLIT


def test_a_setting_of_another_model_is_refused(world, place, capsys):
    said = error_of(capsys, "train", "--cfg", "clips", *small(world, "model.strategy=mutual"))
    assert "model.strategy: unknown setting" in said
    said = error_of(capsys, "test", "--cfg", "clips", *small(world, "model.name=otam", "model.hidden_size=32"))
    assert "model.hidden_size: unknown setting" in said


def test_missing_folder(place, capsys):
    said = error_of(capsys, "train", "--cfg", "clips", "data.root=nowhere", *SMALL)
    assert "nowhere does not exist; check the setting data.root" in said
    assert "data.root is not set" in error_of(capsys, "train", "--cfg", "clips")


def test_misspelt_setting_and_config(place, capsys):
    assert "did you mean episode.n_shot?" in error_of(capsys, "train", "--cfg", "clips", "episode.n_shots=1")
    assert "shipped configs are" in error_of(capsys, "train", "--cfg", "clips_")


def test_empty_class_and_too_few_videos(world, place, capsys):
    (place / "videos").mkdir()
    for name in SHAPES_SPLIT["test"]:
        shutil.copytree(world / name, place / "videos" / name)
    shutil.rmtree(place / "videos" / "gather")
    (place / "videos" / "gather").mkdir()
    (place / "videos" / "scatter" / "000.mp4").unlink()
    all_test = ["data.class_split=random", "data.split_fractions=[0,0,1]", "model.name=otam"]
    said = error_of(capsys, "test", "--cfg", "clips", *small(place / "videos", *all_test))
    assert "class 'scatter' of split 'test' has 1 usable videos, needs n_shot + n_query = 2" in said
    assert "lower n_shot or n_query, or drop the class" in said


def test_short_videos_follow_the_named_policy(world, place, capsys):
    more = ["frames.n_frames=64", "model.name=prototype"]
    assert main(["test", "--cfg", "clips", "--quiet", *small(world, *more)]) == 0
    said = error_of(capsys, "test", "--cfg", "clips", *small(world, *more, "frames.short_videos=refuse"))
    assert "64" in said


def test_prompts_that_miss_a_class(world, store, place, capsys):
    (place / "mine.yaml").write_text("templates: ['{}']\nclasses: {gathr: three shapes}\n")
    said = error_of(capsys, "train", "--cfg", "clips", *small(world, "data.prompts=mine.yaml", store=store))
    assert "gathr" in said
    assert "gather" in said


def test_class_in_two_splits(world, place, capsys):
    (place / "split.yaml").write_text("train: [grow, shrink]\nval: [grow]\ntest: [gather]\n")
    said = error_of(capsys, "train", "--cfg", "clips", *small(world, "data.class_split=split.yaml"))
    assert "grow" in said
    assert "train" in said
    assert "val" in said


def test_checkpoint_of_another_shape(world, store, place, capsys):
    assert main(["train", "--cfg", "clips", "--quiet", *small(world, store=store)]) == 0
    said = error_of(capsys, "test", "--run", "runs/clips", "model.hidden_size=16")
    assert "does not fit this model" in said
    assert "(32, 128), the model's is (16, 128)" in said
    said = error_of(capsys, "test", "--run", "runs/none")
    assert "is not a run folder" in said
    said = error_of(capsys, "test", "--cfg", "clips", *small(world, store=store))
    assert "needs a checkpoint" in said


def test_store_made_with_other_settings_is_refused_and_kept(world, store, place, capsys):
    before = (store / "features.npy").read_bytes()
    said = error_of(capsys, "train", "--cfg", "clips", *small(world, "frames.n_frames=4", store=store))
    assert "n_frames: the store has 8, asked for 4" in said
    assert (store / "features.npy").read_bytes() == before


def test_damaged_files_are_named(world, store, place, capsys):
    arguments = small(world, store=store)
    assert main(["train", "--cfg", "clips", "--quiet", *arguments, "evaluation.after_training=false"]) == 0
    (place / "runs/clips/training.json").unlink()
    state = place / "runs/clips/last/state.pt"
    for content in (b"", b"garbage", state.read_bytes()[:-50]):
        state.write_bytes(content)
        said = error_of(capsys, "train", "--cfg", "clips", "--resume", *arguments)
        assert "last/state.pt is not a training state of mdmf" in said
        assert "delete it to begin the run again" in said
    copy = place / "store"
    shutil.copytree(store, copy)
    for cached in (copy / "text").iterdir():
        cached.write_bytes(b"cut")
    assert main(["test", "--cfg", "clips", "--quiet", *small(world, "model.name=otam", store=copy)]) == 0
    for name, content in (("videos.csv", b""), ("features.npy", b"x"), ("manifest.json", b'{"format": 1}')):
        (copy / name).write_bytes(content)
        said = error_of(capsys, "test", "--cfg", "clips", *small(world, "model.name=otam", store=copy))
        assert str(copy) in said
        assert "delete" in said
        shutil.copy(store / name, copy / name)


def test_output_that_cannot_be_written_is_said_before_any_work(world, place, capsys):
    (place / "taken").touch()
    said = error_of(capsys, "train", "--cfg", "clips", *small(world, "output.root=taken"))
    assert "output.root=taken cannot be made a folder" in said
    assert not (place / "stores").exists()


def test_weights_are_not_tested_on_other_features(world, store, place, capsys):
    assert main(["train", "--cfg", "clips", "--quiet", *small(world, store=store)]) == 0
    said = error_of(capsys, "test", "--run", "runs/clips", "encoder.weights=random")
    assert "was trained on other features" in said


@pytest.mark.parametrize("word", ["n_steps=5", "training.n-steps", "badword", "--runs"])
def test_a_word_that_means_nothing(place, capsys, word):
    said = error_of(capsys, "train", "--cfg", "clips", word)
    assert f"cannot read {word!r}" in said
    assert ("training.n_steps=…" in said) == ("steps" in word)


def test_too_many_ways(world, store, place, capsys):
    said = error_of(capsys, "train", "--cfg", "clips", *small(world, "episode.n_way=30", store=store))
    assert "has 24 classes, needs n_way = 30; lower n_way (episode.n_way)" in said


def test_groups_that_are_not_known(world, store, place, capsys):
    new = place / "new_store"
    said = error_of(capsys, "train", "--cfg", "clips", *small(world, "episode.group_disjoint=true", store=new))
    assert "needs the source recording of every video" in said
    assert not new.exists()  # it is said before anything is encoded
