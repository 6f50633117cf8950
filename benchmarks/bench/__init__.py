"""Performance benchmarks: `make bench`. Every figure is a ratio of two times taken alternately in one run, or a share
of the matrix-multiplication rate measured between its steps; results/bench/accepted.json has the accepted figures."""
