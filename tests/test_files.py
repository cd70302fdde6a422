import hashlib
import json
import threading

import pytest

from mdmf.files import check_outputs, is_partial, json_sha256, write_atomic, write_json


def test_content_is_replaced_whole_and_nothing_is_left(tmp_path):
    path = tmp_path / "deep" / "file.bin"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]


def test_a_reader_never_sees_a_part(tmp_path):
    path, contents = tmp_path / "file.bin", [bytes([number]) * 300_000 for number in range(2)]
    write_atomic(path, contents[0])
    writer = threading.Thread(target=lambda: [write_atomic(path, contents[n % 2]) for n in range(30)])
    writer.start()
    while writer.is_alive():
        assert path.read_bytes() in contents
    writer.join()


def test_what_a_kill_leaves_is_known_as_such(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file.bin", b"content")
    assert [is_partial(file) for file in tmp_path.iterdir()] == [True]


def test_what_cannot_take_its_place_is_taken_away(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_outputs_that_cannot_be_written_are_told_before_the_work(tmp_path):
    file = tmp_path / "file"
    file.touch()
    check_outputs([tmp_path / "new" / "a.csv", tmp_path / "new" / "a.json", file])
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="expected the path of a file, got the folder"):
        check_outputs([tmp_path])
    with pytest.raises(ValueError, match="is given for two outputs"):
        check_outputs([tmp_path / "a", tmp_path / "new" / ".." / "a"])
    with pytest.raises(ValueError, match=r"file is not a folder"):
        check_outputs([file / "deep" / "a.csv"])


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "deep" / "result.json"
    write_json(path, {"a": 1, "b": "λ"})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1, "b": "λ"}
    assert path.read_text() == '{\n  "a": 1,\n  "b": "λ"\n}\n'


def test_values_are_named_by_their_json_whatever_the_order_of_keys():
    expected = hashlib.sha256(b'{"a": [1, null], "b": "\\u03bb"}more').hexdigest()
    assert json_sha256({"b": "λ", "a": [1, None]}, b"more") == expected
    assert json_sha256((1, 2)) == hashlib.sha256(b"[1, 2]").hexdigest()
