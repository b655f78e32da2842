"""Sums of all replicas' figures by minute, and what follows from them.

``store.py`` adds up; ``kpis.py`` and ``slo.py`` are pure.
"""
