"""`python tests/faults/runner.py LOG ARGUMENTS…` is `python -m benchmarks ARGUMENTS…` that keeps a log of what it does.

A line of LOG is added when a run is handed to a worker and when it ends, so that executions are counted where they
happen and not inferred from what is left of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a worker reads this file again

if __name__ == "__main__":
    from benchmarks.machine.signals import guard

    guard()
    from benchmarks.engine.local import LocalWorkers
    from benchmarks.engine.protocol import Job

    log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    start, wait = LocalWorkers.start, LocalWorkers.wait

    def start_and_say(workers: LocalWorkers, job: Job) -> None:
        os.write(log, f"start {job.run.id} {os.getpid()}\n".encode())
        start(workers, job)

    def wait_and_say(workers: LocalWorkers, *arguments: Any) -> Any:
        answers = wait(workers, *arguments)
        for answer in answers:
            status = answer.result.status if answer.result else "died"
            os.write(log, f"{status} {answer.job.run.id} {os.getpid()}\n".encode())
        return answers

    LocalWorkers.start, LocalWorkers.wait = start_and_say, wait_and_say  # type: ignore[method-assign]

    from benchmarks.cli.main import main

    main()
