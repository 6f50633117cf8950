"""Arrays on disk: written once, whole or not at all, never another key's."""

from __future__ import annotations

import json
from multiprocessing import get_context

import pytest
import torch

from benchmarks.runs import tensor_cache
from benchmarks.runs.tensor_cache import stored


def fill(create):
    create("numbers", (5, 3), torch.float32).copy_(torch.arange(15.0).view(5, 3))
    create("half", (4,), torch.bfloat16).fill_(0.1)
    create("nothing", (0, 7), torch.int64)


def never(create):
    pytest.fail("written twice")


def same(found):
    assert torch.equal(found["numbers"], torch.arange(15.0).view(5, 3))
    assert torch.equal(found["half"], torch.full((4,), 0.1, dtype=torch.bfloat16))
    assert found["nothing"].shape == (0, 7)


def test_written_once_and_read_again(tmp_path):
    made = stored(tmp_path, "made", {"of": [1, "a"]}, fill)
    same(made.arrays)
    assert made.seconds > 0
    found = stored(tmp_path, "made", {"of": [1, "a"]}, never)
    same(found.arrays)
    assert found.seconds == 0
    with pytest.raises(pytest.fail.Exception, match="twice"):
        stored(tmp_path, "made", {"of": [1, "b"]}, never)


def test_writing_into_what_is_read_does_not_reach_the_disk(tmp_path):
    stored(tmp_path, "made", {}, fill).arrays["numbers"].zero_()
    same(stored(tmp_path, "made", {}, never).arrays)


def test_a_failure_leaves_nothing(tmp_path):
    def half(create):
        create("numbers", (5, 3), torch.float32)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        stored(tmp_path, "made", {}, half)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
    same(stored(tmp_path, "made", {}, fill).arrays)


@pytest.fixture
def another_process(monkeypatch):
    """Forget what this process has opened, as a process that starts now has."""
    return lambda: monkeypatch.setattr(tensor_cache, "_verified", {})


def folder_of(path):
    return next(found for found in path.iterdir() if found.is_dir())


DAMAGE = {
    "truncated": "numbers.bin has 8 bytes instead of 60",
    "missing": "cannot be read",
    "index": "cannot be read",
    "another key": "of another key",
    "a bit": "numbers.bin is not what was written",
    "no hash": "numbers.bin is not what was written",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_or_anothers_is_made_again_and_said_to_be(tmp_path, another_process, damage):
    stored(tmp_path, "made", {"is": 1}, fill)
    folder = folder_of(tmp_path)
    index = json.loads((folder / "arrays.json").read_text(encoding="utf-8"))
    if damage == "truncated":
        with (folder / "numbers.bin").open("r+b") as file:
            file.truncate(8)
    elif damage == "missing":
        (folder / "half.bin").unlink()
    elif damage == "index":
        (folder / "arrays.json").write_text('{"key": {"is"', encoding="utf-8")
    elif damage == "another key":
        (folder / "arrays.json").write_text(json.dumps(index | {"key": {"is": 2}}), encoding="utf-8")
    elif damage == "a bit":
        flip(folder / "numbers.bin", 30)
    else:
        index["arrays"]["numbers"]["sha256"] = []
        (folder / "arrays.json").write_text(json.dumps(index), encoding="utf-8")
    another_process()
    found = stored(tmp_path, "made", {"is": 1}, fill)
    same(found.arrays)
    assert found.seconds > 0
    assert DAMAGE[damage] in found.rebuilt
    assert stored(tmp_path, "made", {"is": 1}, never).rebuilt is None


def flip(file, place):
    with file.open("r+b") as opened:
        opened.seek(place)
        byte = opened.read(1)[0]
        opened.seek(place)
        opened.write(bytes([byte ^ 1]))


def test_a_process_verifies_once(tmp_path, another_process, monkeypatch):
    stored(tmp_path, "made", {}, fill)
    hashed = []
    monkeypatch.setattr(tensor_cache, "_damaged_block", lambda file, hashes: hashed.append(file.name))
    stored(tmp_path, "made", {}, never)
    assert hashed == [], "what a process has written itself it believes"
    another_process()
    for _ in range(2):
        stored(tmp_path, "made", {}, never)
    assert hashed == ["half.bin", "numbers.bin"]


def test_a_sample_of_a_large_files_blocks_is_verified(tmp_path, another_process, monkeypatch):
    """Another sample in every process, so that damage is found in the end wherever it is."""
    for name, value in (("BLOCK", 4), ("WHOLE", 32), ("SAMPLE", 5)):  # 15 blocks of one number
        monkeypatch.setattr(tensor_cache, name, value)
    stored(tmp_path, "made", {}, fill)
    flip(folder_of(tmp_path) / "numbers.bin", 30)

    def opened_anew():
        another_process()
        return stored(tmp_path, "made", {}, fill).rebuilt

    assert any(opened_anew() for _ in range(200))  # a sample is a third of the blocks


def test_the_caller_checks_what_another_process_wrote(tmp_path, another_process):
    def wrong(found):
        return None if found["numbers"][0, 1] == 1.0 else "not the numbers"

    def other(create):
        create("numbers", (5, 3), torch.float32).zero_()

    stored(tmp_path, "made", {}, other)
    assert stored(tmp_path, "made", {}, never, wrong).rebuilt is None, "only what another process wrote"
    another_process()
    found = stored(tmp_path, "made", {}, fill, wrong)
    assert found.rebuilt == "not the numbers"
    same(found.arrays)


def test_what_a_killed_writer_left_is_removed(tmp_path):
    def killed(create):
        create("numbers", (5, 3), torch.float32)
        raise SystemExit

    with pytest.raises(SystemExit):
        stored(tmp_path, "made", {}, killed)
    name = next(tmp_path.iterdir()).name.removesuffix(".lock")
    (tmp_path / f".{name}-killed").mkdir()
    same(stored(tmp_path, "made", {}, fill).arrays)
    assert not list(tmp_path.glob(".made-*"))


def _worker(folder, queue):
    queue.put(stored(folder, "made", {}, fill).seconds > 0)


def test_of_workers_that_need_it_at_once_one_writes(tmp_path):
    context = get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_worker, args=(tmp_path, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    wrote = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(wrote) == [False, False, False, True]
