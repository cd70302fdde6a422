import json

import pytest
from pydantic import Field

from mdmf.records import Record, read_record


class Entry(Record):
    class_name: str = Field(alias="class")
    n_videos: int = 0


def read(path) -> Entry:
    return read_record(Entry, path, what="an entry", remedy="write it again")


def test_a_record_keeps_unknown_keys_and_leaves_out_unset_ones(tmp_path):
    path = tmp_path / "entry.json"
    path.write_text(json.dumps({"class": "jump", "added_later": 3}))
    entry = read(path)
    assert (entry.class_name, entry.n_videos) == ("jump", 0)
    assert entry.as_json() == {"class": "jump", "added_later": 3}


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "JSONDecodeError"), ("[]", "content: "), ('{"class": "a", "n_videos": "3"}', "n_videos: ")],
)
def test_damaged_content_is_named_with_its_place_and_the_remedy(tmp_path, content, reason):
    path = tmp_path / "entry.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"entry\.json is not an entry \({reason}.*; write it again"):
        read(path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nowhere.json")
