"""Faults other than kills: each is done to the tiny job of `faults_job`, and then undone. In: the job. Out: what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from faults_job import Job, Result

FAULTS: dict[str, Callable[[Job], Iterator[Result]]] = {}
