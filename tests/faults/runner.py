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
    from benchmarks.stopping import quit_on_signals

    quit_on_signals()
    from benchmarks.pool import Job, Pool

    log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    start, wait = Pool.start, Pool.wait

    def start_and_say(pool: Pool, job: Job) -> None:
        os.write(log, f"start {job.run.id} {os.getpid()}\n".encode())
        start(pool, job)

    def wait_and_say(pool: Pool, *arguments: Any) -> Any:
        answers = wait(pool, *arguments)
        for answer in answers:
            status = answer.result["status"] if answer.result else "died"
            os.write(log, f"{status} {answer.job.run.id} {os.getpid()}\n".encode())
        return answers

    Pool.start, Pool.wait = start_and_say, wait_and_say  # type: ignore[method-assign]

    from benchmarks.cli import main

    main()
