"""Benchmarks. Each figure is a ratio against a baseline that is measured in the same run.

`python -m bench NAME...` runs them; without a name, all. They print tables and keep them in `docs/bench/`.
"""
