"""The leaderboard's benchmark: its own checker takes its own answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from corpus import bfcl_rows
from fgkit.calls import Call

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
# Where bfcl-eval was installed with `pip install --target`.
PACKAGES = Path(os.environ.get("FGKIT_BFCL", "packages"))
BFCL = PACKAGES / "bfcl_eval" / "data"

needs_bfcl = pytest.mark.skipif(
    not BFCL.exists(), reason="bfcl-eval is not in the folder that FGKIT_BFCL names"
)


def test_arguments_that_the_template_leaves_out_are_renamed_and_named_back() -> None:
    import bfcl

    schema = {"properties": {"type": {"type": "string"}, "size": {}}, "required": ["type"]}
    renamed = bfcl._renamed({"name": "order", "parameters": schema})["parameters"]
    assert list(renamed["properties"]) == ["type_", "size"] and renamed["required"] == ["type_"]
    assert bfcl._named_back({"type_": "x", "size": 2}) == {"type": "x", "size": 2}


def test_the_score_counts_refusals_calls_and_tools() -> None:
    import bfcl

    rows = [{"id": str(number), "prompt": "", "answer": [{"f": {}}]} for number in range(2)]
    call = "<start_function_call>call:f{}<end_function_call><start_function_response>"
    got = bfcl.score(rows, [call, "no"], "live_simple", lambda _, __, calls: bool(calls))
    assert (got["n"], got["right"], got["tool"]) == (2, 0.5, 0.5)
    assert bfcl.score(rows, [call, "<bad"], "irrelevance", lambda _, __, calls: not calls)["n"] == 2


@needs_bfcl
@pytest.mark.parametrize("category", ["live_simple", "live_multiple", "live_parallel"])
def test_the_leaderboards_check_takes_its_own_answers(category: str) -> None:
    import bfcl

    rows, unsayable = bfcl.rows_of(BFCL, category, None)
    right = bfcl.checker(PACKAGES)
    wrong = sum(
        not right(
            category,
            row,
            [
                Call(name, bfcl_rows._arguments(accepted))
                for call in row["answer"]
                for name, accepted in call.items()
            ],
        )
        for row in rows
    )
    assert unsayable < 0.02 * len(rows) and wrong < 0.02 * len(rows)
