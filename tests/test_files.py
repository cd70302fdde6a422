import threading

import pytest

from mdmf.files import is_partial, write_atomic


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
