# SPDX-License-Identifier: MIT
"""Contents of recordings are read once, and again wherever they may have changed."""

import json
import os

import numpy as np
import pytest

from cheep.audio import write_wav
from cheep.config import FeatureConfig
from cheep.features import digests
from cheep.features.cache import build_feature_cache
from cheep.features.digests import digests_of, sha256_of


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three files that count as settled at once, and the list of those that were read."""
    paths = [tmp_path / f"{name}.wav" for name in "abc"]
    for i, path in enumerate(paths):
        write_wav(path, np.full(4000, 100 * i, np.int16), 8000)
    read = []

    def reader(path):
        read.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(digests, "sha256_of", reader)
    monkeypatch.setattr(digests, "SETTLED_S", -1.0)
    return paths, read


def test_unchanged_files_are_read_once(files, tmp_path):
    paths, read = files
    first = digests_of(paths, tmp_path / "features")
    assert first == [sha256_of(path) for path in paths] and read == ["a.wav", "b.wav", "c.wav"]
    read.clear()
    assert digests_of(paths[::-1], tmp_path / "features") == first[::-1] and read == []


def test_a_changed_file_is_noticed_even_with_its_old_size_and_time(files, tmp_path):
    paths, read = files
    before = digests_of(paths, tmp_path)
    read.clear()
    status = paths[1].stat()
    content = bytearray(paths[1].read_bytes())
    content[-1] ^= 1
    while paths[1].stat().st_ctime_ns == status.st_ctime_ns:  # until the clock of the file system has moved on
        paths[1].write_bytes(content)
        os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert paths[1].stat().st_size == status.st_size and paths[1].stat().st_mtime_ns == status.st_mtime_ns
    after = digests_of(paths, tmp_path)
    assert read == ["b.wav"]
    assert after[1] == sha256_of(paths[1]) != before[1] and (after[0], after[2]) == (before[0], before[2])
    read.clear()
    other = tmp_path / "other.wav"
    write_wav(other, np.ones(4000, np.int16), 8000)
    os.replace(other, paths[0])  # another file under the same name
    assert digests_of(paths, tmp_path)[0] != before[0] and read == ["a.wav"]


def test_a_file_that_was_just_written_is_read_again(files, tmp_path, monkeypatch):
    """Within a tick of the clock it could change without a trace."""
    paths, read = files
    monkeypatch.setattr(digests, "SETTLED_S", 60.0)
    digests_of(paths, tmp_path)
    digests_of(paths, tmp_path)
    assert len(read) == 6


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_index_is_ignored(files, tmp_path, content):
    paths, read = files
    (tmp_path / "digests.json").write_text(content)
    assert digests_of(paths, tmp_path) == [sha256_of(path) for path in paths]
    assert len(read) == 3 and len(json.loads((tmp_path / "digests.json").read_text())) >= 3


def test_an_index_that_cannot_be_written_costs_nothing_but_time(files, tmp_path):
    paths, _ = files
    (tmp_path / "file").write_text("")
    assert digests_of(paths, tmp_path / "file") == [sha256_of(path) for path in paths]


def test_features_follow_the_content(files, tmp_path):
    paths, read = files
    names, folder = [path.name for path in paths], tmp_path / "features"
    first = build_feature_cache(paths, names, FeatureConfig(), folder, workers=1)
    read.clear()
    again = build_feature_cache(paths, names, FeatureConfig(), folder, workers=1)
    assert read == [] and np.array_equal(first.columns, again.columns)
    write_wav(paths[0], np.random.default_rng(0).integers(-9000, 9000, 4000).astype(np.int16), 8000)
    changed = build_feature_cache(paths, names, FeatureConfig(), folder, workers=1)
    assert not np.array_equal(first.columns, changed.columns) and read == ["a.wav"]
