"""Questions on made-up contexts, for tests of question answering."""

from __future__ import annotations

from datasets import Dataset

from benchmarks.tasks import kinds
from benchmarks.tasks.table import Task

KIND = kinds.find("question-answering")
TASK = Task("qa", "QA", ("question", "context"), "span_f1", 0, {"validation": 0}, kind="question-answering")


def rows(*given: tuple[str, str, list[str]], starts: list[list[int]] | None = None) -> Dataset:
    """Questions, contexts and answers; an answer begins where the context first has it."""
    found = starts or [[context.index(answer) for answer in answers] for _, context, answers in given]
    questions, contexts, answers = map(list, zip(*given, strict=True))
    idx = [100 + row for row in range(len(given))]
    return Dataset.from_dict({"question": questions, "context": contexts, "label": answers, "start": found, "idx": idx})


def words(first: int, last: int) -> str:
    return " ".join(f"w{number}" for number in range(first, last))
