"""Performance, measured side by side: `make bench`. Every figure is a ratio of two things timed alternately in one run,
or a share of the matrix-multiplication rate measured between its steps; results/bench/accepted.json has the accepted
ones."""
