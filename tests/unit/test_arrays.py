"""Arrays on disk: written once, whole or not at all, never another key's."""

from __future__ import annotations

import json
from multiprocessing import get_context

import pytest
import torch

from benchmarks.arrays import stored


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
    found, seconds = stored(tmp_path, "made", {"of": [1, "a"]}, fill)
    same(found)
    assert seconds > 0
    found, seconds = stored(tmp_path, "made", {"of": [1, "a"]}, never)
    same(found)
    assert seconds == 0
    with pytest.raises(pytest.fail.Exception, match="twice"):
        stored(tmp_path, "made", {"of": [1, "b"]}, never)


def test_writing_into_what_is_read_does_not_reach_the_disk(tmp_path):
    found, _ = stored(tmp_path, "made", {}, fill)
    found["numbers"].zero_()
    same(stored(tmp_path, "made", {}, never)[0])


def test_a_failure_leaves_nothing(tmp_path):
    def half(create):
        create("numbers", (5, 3), torch.float32)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        stored(tmp_path, "made", {}, half)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []
    same(stored(tmp_path, "made", {}, fill)[0])


@pytest.mark.parametrize("damage", ["truncated", "missing", "index", "another key"])
def test_what_is_damaged_or_anothers_is_made_again(tmp_path, damage):
    stored(tmp_path, "made", {"is": 1}, fill)
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    if damage == "truncated":
        with (folder / "numbers.bin").open("r+b") as file:
            file.truncate(8)
    elif damage == "missing":
        (folder / "half.bin").unlink()
    elif damage == "index":
        (folder / "arrays.json").write_text('{"key": {"is"', encoding="utf-8")
    else:
        index = json.loads((folder / "arrays.json").read_text(encoding="utf-8"))
        (folder / "arrays.json").write_text(json.dumps(index | {"key": {"is": 2}}), encoding="utf-8")
    found, seconds = stored(tmp_path, "made", {"is": 1}, fill)
    same(found)
    assert seconds > 0


def _worker(folder, queue):
    queue.put(stored(folder, "made", {}, fill)[1] > 0)


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
