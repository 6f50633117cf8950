"""The worker processes of benchmarks/gpu.py, as the parent sees them: asked together, waited for no longer than agreed.

Processes are spawned, each with a CUDA context of its own, as the engine's workers are: without NVIDIA's MPS the device
takes turns among them.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.gpu_cases import Scale

BROKEN = ("CUDA error", "device-side assert", "cuDNN error", "CUBLAS_STATUS")  # the process cannot be used any more


class Failed(Exception):
    """A measurement that could not be made; the message says why, in one line."""


def serve(*arguments: Any) -> None:
    """A worker's main function, imported in the worker alone: the parent needs neither torch nor transformers."""
    from benchmarks.gpu_worker import serve as work

    work(*arguments)


class Pool:
    """As many workers as runs at once. One that is not there, or no more, is started when it is asked."""

    def __init__(self, scale: Scale, shares: dict[str, float]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._arguments = (scale, shares)
        self._workers: list[tuple[BaseProcess, Connection] | None] = [None] * scale.workers

    def _spawn(self, index: int) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, *self._arguments, index), daemon=True)
        process.start()
        theirs.close()
        self._workers[index] = (process, ours)
        return ours

    def _connection(self, index: int) -> Connection:
        worker = self._workers[index]
        if worker is None or not worker[0].is_alive():
            self.end(index)
            return self._spawn(index)
        return worker[1]

    def ask(self, indices: range, name: str, timeout: float, **arguments: Any) -> list[Any]:
        """The answers of these workers to the same question, asked at once.

        Raises `Failed` when one of them fails, dies or takes longer than `timeout` seconds; by then all have answered
        or are gone.
        """
        deadline = time.monotonic() + timeout
        answers: list[Any] = []
        reasons: list[str] = []
        asked = []
        for index in indices:
            connection = self._connection(index)
            try:
                connection.send((name, arguments))
            except OSError:
                reasons.append("the worker is gone")
                self.end(index)
                continue
            asked.append((index, connection))
        for index, connection in asked:
            try:
                if not connection.poll(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                done, answer = connection.recv()
            except TimeoutError:
                done, answer = False, f"no answer within {timeout:.0f} s"
                self.end(index)
            except (EOFError, OSError):
                done, answer = False, "the worker died"
                self.end(index)
            if done:
                answers.append(answer)
                continue
            reasons.append(answer)
            if any(sign in answer for sign in BROKEN):
                self.end(index)
        if reasons:
            raise Failed(reasons[0])
        return answers

    def end(self, index: int, patience: float = 0.0) -> None:
        """Stop one worker; `patience`: seconds it may take to leave by itself."""
        worker, self._workers[index] = self._workers[index], None
        if worker is None:
            return
        process, connection = worker
        connection.close()
        if patience:
            process.join(patience)
        if process.is_alive():
            process.kill()
            process.join(5)

    def close(self, patience: float = 3.0) -> None:
        """Stop all, within about `patience` seconds."""
        until = time.monotonic() + patience
        for worker in self._workers:
            if worker is not None:
                worker[1].close()
        for index in range(len(self._workers)):
            self.end(index, max(0.1, until - time.monotonic()))
