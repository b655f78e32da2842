"""Real servers, machine facts and texts for the benchmarks."""
