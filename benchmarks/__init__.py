"""Speed and memory, as ratios inside one process. `make bench` runs all of it and writes benchmarks/results/."""
