"""One script that measures a GPU: `python -m benchmarks.gpu`."""
