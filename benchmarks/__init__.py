"""The lab: suites, tasks, data, the shared training loop, evaluation, timing, the run store and the CLI.

One way through: suite.py reads a suite, plan.py turns it into runs with ids, engine.py executes them,
execute.py does one run (data, batches, training, evaluation), store.py keeps it. `reports` takes it from there.
"""
