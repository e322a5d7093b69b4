"""Compares designs that say whose an event is, on one workload of which the truth is known.

``workload`` has guests run ``payload/workload.py`` on a kernel that has all designs, so that the
very same events have the records of each; ``designs`` makes a log of each that has only its own.
``judge`` has ``harness.trail`` attribute the events of each log and holds that against what the
workload said; ``size``, ``code`` and ``harness.bench.cost`` measure what it takes. ``result``
decides who wins where, and ``report`` writes it down.
"""
