"""The lab: suites, tasks, data, the shared training loop, evaluation, timing, the run store and the CLI.

The way of `run`: `cli/experiment.py` takes the command, `suites` reads the suite, and `plans` turns it into runs with
ids. `preflight/ready.py` checks what they need. `engine/schedule.py` takes a lease for a run and gives it to a worker
process. There `runs/execute.py` does it: `training/loop.py` trains, step by step (`training/step.py`), and evaluates.
`runs/store.py` keeps the result, and `reports` reads it.
"""
