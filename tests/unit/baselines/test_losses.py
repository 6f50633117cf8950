"""The baselines' losses against values worked out by hand, and PKD's layer maps."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from baselines import find, names
from baselines.kd import KD
from baselines.method import LOGITS, Batch, Output
from baselines.parts.losses import distillation_loss, patient_loss, task_loss
from baselines.pkd import PKD, layer_map
from tests import tiny


def kd_loss(
    logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor, alpha: float, temperature: float
) -> torch.Tensor:
    """KD's loss on a model whose logits are given."""

    def model(**_: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=logits)

    return KD(alpha=alpha, temperature=temperature).loss(model, Batch({}, labels, {LOGITS: teacher}))  # type: ignore[arg-type]


def test_kd_by_hand():
    """One example, two classes, T = 2, alpha = 0.25.

    Student logits (0, 2 ln 3): at T = 2 they are (0, ln 3), so q = (1/4, 3/4). Teacher (0, 0): p = (1/2, 1/2).
    KL(p || q) = 1/2 ln(1/2 : 1/4) + 1/2 ln(1/2 : 3/4) = 1/2 ln 2 + 1/2 ln(2/3) = 1/2 ln(4/3).
    Cross entropy of label 1 under softmax(0, 2 ln 3) = (1/10, 9/10) is -ln 0.9.
    """
    logits, teacher = torch.tensor([[0.0, 2 * math.log(3)]]), torch.zeros(1, 2)
    kl = 0.5 * math.log(4 / 3)
    assert float(distillation_loss(logits, teacher, 2.0)) == pytest.approx(4 * kl, rel=1e-6)
    expected = 0.75 * -math.log(0.9) + 0.25 * 4 * kl
    assert float(kd_loss(logits, torch.tensor([1]), teacher, 0.25, 2.0)) == pytest.approx(expected, rel=1e-6)


def test_kd_is_the_mean_over_the_batch_not_over_classes():
    logits, teacher = torch.tensor([[0.0, 2 * math.log(3)]] * 3), torch.zeros(3, 2)
    assert float(distillation_loss(logits, teacher, 2.0)) == pytest.approx(2 * math.log(4 / 3), rel=1e-6)


def test_regression_distils_by_squared_error():
    """Output 1, label 3, teacher 2, alpha 0.7: 0.3 * 4 + 0.7 * 1."""
    loss = kd_loss(torch.tensor([[1.0]]), torch.tensor([3.0]), torch.tensor([[2.0]]), 0.7, 10.0)
    assert float(loss) == pytest.approx(0.3 * 4 + 0.7 * 1)


def test_patient_loss_by_hand():
    """Student (3, 4) is (0.6, 0.8) normalised; teacher (0, 5) is (0, 1): squares 0.36 and 0.04, mean 0.2.

    A second layer points the same way at another length: 0. The mean over two layers is 0.1.
    """
    states = torch.tensor([[[3.0, 4.0], [1.0, 1.0]]])
    teacher = torch.tensor([[[0.0, 5.0], [2.0, 2.0]]])
    assert float(patient_loss(states, teacher)) == pytest.approx(0.1, rel=1e-6)


def test_pkd_adds_beta_times_the_patient_loss():
    """Against a plain loop over layers and examples on a real model."""
    model = tiny.bert(layers=2).train()
    given = tiny.batch()
    labels = given.pop("labels")
    teacher_logits, teacher_cls = torch.randn(4, 2), torch.randn(4, 32)  # the states after layer 2 of 4
    method = PKD(alpha=0.5, temperature=5.0, beta=10.0, layers="skip")
    loss = method.loss(model, Batch(given, labels, {LOGITS: teacher_logits, Output("state", 2): teacher_cls}))
    output = model(**given, output_hidden_states=True)
    plain = kd_loss(output.logits, labels, teacher_logits, 0.5, 5.0)
    squares = []
    for example in range(4):
        student = output.hidden_states[1][example, 0]  # the student's layer 1 of 2 follows the teacher's layer 2 of 4
        target = teacher_cls[example]
        squares.append(((student / student.norm() - target / target.norm()) ** 2).mean())
    assert float(loss) == pytest.approx(float(plain + 10.0 * sum(squares) / 4), rel=1e-5)


def test_layer_maps_of_the_paper_and_of_other_depths():
    assert layer_map(12, 6, "skip") == [2, 4, 6, 8, 10]
    assert layer_map(12, 6, "last") == [7, 8, 9, 10, 11]
    assert layer_map(12, 3, "last") == [10, 11]  # the released script's 9, 10 counted from 0
    assert layer_map(6, 3, "skip") == [2, 4]
    assert layer_map(12, 5, "skip") == [2, 4, 7, 9]
    assert layer_map(4, 1, "skip") == []
    with pytest.raises(ValueError, match="cannot follow"):
        layer_map(6, 6, "skip")


def test_task_loss_is_cross_entropy_or_squared_error():
    assert float(task_loss(torch.zeros(2, 4), torch.tensor([0, 3]))) == pytest.approx(math.log(4))
    assert float(task_loss(torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 2.0]))) == pytest.approx((1 + 4) / 2)


def test_methods_are_found_by_their_files_names():
    assert {"predecessor", "finetune", "kd", "pkd", "theseus"} <= set(names())
    with pytest.raises(ValueError, match="did you mean 'theseus'"):
        find("thesus")
