"""Four rows of two tools, answers to them, and any rows that hypothesis thinks of: what the tests of scores share."""

from __future__ import annotations

from hypothesis import strategies as st

from fgkit.calls import Call
from fgkit.dataset.records import request
from fgkit.prompts import completion

RECORDS = [
    request(1, "red", (Call("paint", {"color": "red"}),)),
    request(3, "alert", (Call("alert", {"title": "A", "n": 1}),)),
    request(4, "both", (Call("paint", {"color": "red"}), Call("alert", {}))),
    request(9, "two", (Call("alert", {"n": 2}),)),
]
UNPARSED = "<start_function_call>call:alert{n:@@}<end_function_call>"


def answer(*calls: Call) -> str:
    return completion(list(calls))


def perfect() -> list[str]:
    return [answer(*record.calls) for record in RECORDS]


calls = st.lists(
    st.builds(
        Call,
        st.sampled_from("fgh"),
        st.dictionaries(
            st.sampled_from("abc"),
            st.one_of(st.integers(0, 2), st.booleans(), st.sampled_from(["0", "1"])),
            max_size=2,
        ),
    ),
    max_size=3,
)
answers = st.one_of(
    calls.map(lambda some: answer(*some) if some else "Any text."), st.just(UNPARSED)
)
asked = st.lists(st.tuples(calls, answers), min_size=1, max_size=8).map(
    lambda pairs: (
        [request(line, f"text {line // 2}", some) for line, (some, _) in enumerate(pairs)],
        [text for _, text in pairs],
    )
)
