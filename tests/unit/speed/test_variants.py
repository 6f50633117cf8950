"""Variants of a model: they answer as eager does or are refused, and what is missing is said in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.machine.settings import Device
from benchmarks.speed import onnx
from benchmarks.speed.onnx import Refused
from benchmarks.speed.variants import TOLERANCE, Runner, VariantAgreement, Workshop, compare, compiling, working_memory
from benchmarks.suites.speed import Speed
from tests import tiny
from tests.command import refused

PLACE = Device(device="cpu", threads=1)
SHAPES = ((1, 5), (7, 33))


def batches(types: bool = True) -> list[dict[str, torch.Tensor]]:
    return [onnx.example(*shape, types) for shape in SHAPES]


def eager(model: torch.nn.Module) -> Runner:
    return Workshop(Path(), types=True).build("eager", model, "eager", PLACE)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("exports"), types=True)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return tiny.bert(layers=2)


def test_bfloat16_agrees_with_eager(workshop, model):
    found = compare(eager(model), workshop.build("bfloat16", model, "two", PLACE), batches())
    assert 0 < found.max_abs_difference <= TOLERANCE["bfloat16"] * found.largest_logit
    assert found.examples == 8
    assert found.refusal("bfloat16", "successor") is None


@pytest.mark.slow
def test_an_export_answers_as_eager_at_shapes_it_has_not_seen(workshop, model):
    for name in onnx.NEEDED:  # make installs them
        pytest.importorskip(name)
    runner = workshop.build("onnx", model, "two", PLACE)
    found = compare(eager(model), runner, batches())
    assert found.max_abs_difference < 1e-5 * found.largest_logit
    assert found.equal_argmax == 1.0
    assert runner.weights > sum(p.numel() for p in model.parameters()) * 4
    int8 = workshop.build("onnx-int8", model, "two", PLACE)
    rounded = compare(eager(model), int8, batches())
    assert found.max_abs_difference < rounded.max_abs_difference <= TOLERANCE["onnx-int8"] * rounded.largest_logit
    assert int8.weights < runner.weights
    assert np.array_equal(runner.logits(batches()[0]), runner.lean(batches()[0]))


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "length"), [(1, 5), (4, 9), (1, 33), (6, 64)])
def test_a_compiled_model_answers_as_eager_at_every_shape(workshop, model, batch, length):
    with compiling():
        found = compare(
            eager(model), workshop.build("compiled", model, "two", PLACE), [onnx.example(batch, length, True)]
        )
    assert found.max_abs_difference < 1e-5 * found.largest_logit


def test_a_model_that_answers_otherwise_is_refused(model):
    other = tiny.bert(layers=2, seed=9)
    found = compare(eager(model), eager(other), batches())
    reason = found.refusal("onnx", "successor")
    assert reason is not None
    assert "the successor's logits differ from eager float32" in reason
    assert "0.1 % would be timed" in reason
    reason = VariantAgreement(0.1, 1.0, 0.8, 64).refusal("onnx-int8", "successor")
    assert reason == (
        "the successor answers as eager float32 does on 80.0 % of 64 examples; from 90 % on it would be timed"
    )
    assert VariantAgreement(0.7, 1.0, 0.95, 64).refusal("onnx-int8", "successor") is None
    assert VariantAgreement(0.7, 1.0, None, 64).refusal("onnx-int8", "successor") is not None
    both = VariantAgreement(0.7, 1.0, 0.5, 10).joined(VariantAgreement(0.1, 2.0, 1.0, 30))
    assert both == VariantAgreement(0.7, 2.0, 0.875, 40)
    broken = VariantAgreement(float("nan"), 1.0, 1.0, 4)
    assert broken.refusal("onnx-int8", "predecessor") is not None


def test_regression_has_no_argmax():
    model = tiny.bert(layers=2, labels=1)
    assert compare(eager(model), eager(model), batches()).equal_argmax is None


def test_without_a_compiler_compiled_is_refused(workshop, model, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(Refused, match=r"needs a C\+\+ compiler on a CPU and finds none: install g\+\+"):
        workshop.build("compiled", model, "two", PLACE)


@pytest.mark.parametrize("missing", onnx.NEEDED)
def test_without_the_onnx_extra_the_reason_says_how_to_get_it(workshop, model, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(Refused, match=rf"^{missing} is not installed: make installs it, or pip install -c"):
        workshop.build("onnx", model, "other", PLACE)


def test_what_an_exporter_raises_is_one_line(workshop, model, monkeypatch):
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("no operator for this\nand a page of advice")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(Refused, match=r"^RuntimeError: no operator for this$"):
        workshop.build("onnx", model, "another", PLACE)


@pytest.mark.slow
def test_an_export_with_a_frozen_axis_is_refused(workshop, model, monkeypatch):
    made = torch.onnx.export

    def frozen(*args: object, dynamic_shapes: object, **options: object):
        return made(*args, **options)

    monkeypatch.setattr(torch.onnx, "export", frozen)
    with pytest.raises(Refused):
        workshop.build("onnx", model, "frozen", PLACE)
    assert not list(workshop.folder.glob("frozen.onnx"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_working_memory_sees_what_a_call_takes():
    taken = 64 * 2**20
    runner = Runner(lambda inputs: None, 0, lambda inputs: torch.ones(taken // 4).sum())
    found = working_memory(runner, batches()[0], PLACE)
    assert found is not None
    assert taken * 0.9 < found < taken * 1.5


def test_threads_and_variants_resolve():
    assert Speed().thread_counts(default=3, cores=8) == [3]
    assert Speed(threads=[1, "all", 0, 8]).thread_counts(default=3, cores=8) == [1, 8]
    assert Speed().chosen_variants("bfloat16") == ["bfloat16"]
    assert Speed(variants=["onnx", "eager"]).chosen_variants("bfloat16") == ["onnx", "eager"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("variants", '["eagre"]', "Input should be 'eager', 'bfloat16', 'compiled', 'onnx' or 'onnx-int8'"),
        ("variants", '["onnx", "onnx"]', "variants lists a value twice"),
        ("variants", "[]", "at least 1 item"),
        ("lengths", '["train"]', "lengths"),
        ("threads", "-1", "threads"),
        ("devices", '["tpu"]', "Input should be 'cpu' or 'cuda'"),
        ("max_seconds", "0", "greater than 0"),
    ],
)
def test_a_wrong_speed_section_is_one_line(key, value, message):
    refused("demo", message, f"speed.{key}={value}")
