"""Measure how long the data report takes; prints seconds and peak memory as one JSON object.

    python benchmarks/lint.py          # 100,000 training and 2,000 held-out rows of six tools
    python benchmarks/lint.py --rows 10000 --tokens

The rows are made up from a seed, as people write them.

One row in 50 has a planted fault (a doubled line, a zero-width space, a wrong argument, other
punctuation), so that findings are made as well as looked for. `seconds` is the clock's,
`cpu_seconds` the processor's: on a machine that does nothing else they agree. `--tokens` counts
tokens too, with the offline base's tokenizer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fgkit import data_report
from fgkit.cli import tokenizers
from fgkit.config.finetune import FinetuneConfig
from fgkit.config.tflite import TfliteConfig
from fgkit.data_report import TokenLimits
from fgkit.subprocesses import peak_memory_gb

ROOMS = ["kitchen", "living room", "bedroom", "bathroom", "hall", "office", "garage", "attic"]
POLITE = [
    "",
    "please ",
    "could you ",
    "hey, ",
    "can you please ",
    "I'd like you to ",
    "quickly ",
    "now ",
]
ENDS = ["", " please", " for me", " right now", ", thanks", " if you can", "!", "."]
NAMES = [
    first + second
    for first in (
        "Blue",
        "Green",
        "Old",
        "New",
        "North",
        "Silent",
        "Bright",
        "Lost",
        "Golden",
        "Tiny",
    )
    for second in (
        " River",
        " Garden",
        " Letter",
        " Morning",
        " Machine",
        " Window",
        " Road",
        " Island",
        " Song",
    )
]


def text(description: str, **more: object) -> dict[str, object]:
    """Describe a text parameter of a tool."""
    return {"type": "string", "description": description, **more}


def tool(name: str, description: str, **properties: dict) -> dict:
    """Describe a tool whose parameters are all required."""
    return {
        "name": name,
        "description": description,
        "parameters": {"type": "object", "properties": properties, "required": list(properties)},
    }


TOOLS = [
    tool(
        "set_light",
        "Sets the brightness of a room's lamps.",
        room=text("The room", enum=ROOMS),
        percent={"type": "integer", "description": "0 to 100"},
    ),
    tool(
        "set_temperature",
        "Sets a room's heating.",
        room=text("The room", enum=ROOMS),
        degrees={"type": "number", "description": "Degrees Celsius"},
    ),
    tool("set_alarm", "Sets an alarm.", time=text("HH:MM"), label=text("What it is for")),
    tool("play", "Plays a piece of music.", title=text("Its title")),
    tool(
        "send_message", "Sends a text message.", to=text("Who gets it"), body=text("What it says")
    ),
    tool(
        "add_to_list",
        "Adds a thing to the shopping list.",
        item=text("The thing"),
        count={"type": "integer", "description": "How many"},
    ),
]


def rows(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Rows in the guide's format, with a planted fault in one of 50."""
    dice = random.Random(seed)
    row: dict[str, str] = {}
    for number in range(count):
        fault = dice.randrange(200) if number else None
        if fault != 0:
            row = clean_row(dice, number)
        if fault == 1:
            at = dice.randrange(len(row["user_content"]))
            row["user_content"] = row["user_content"][:at] + "\u200b" + row["user_content"][at:]
        elif fault == 2:
            row["tool_arguments"] = row["tool_arguments"].replace("}", ', "extra": 1}')
        elif fault == 3:
            row["user_content"] += "!!"
        yield row


def clean_row(dice: random.Random, number: int) -> dict[str, str]:
    """Make up a row without a fault."""
    room, name, other, amount = (
        dice.choice(ROOMS),
        dice.choice(NAMES),
        dice.choice(NAMES),
        dice.randrange(1, 101),
    )
    clock = f"{dice.randrange(24):02}:{dice.randrange(60):02}"
    said, called, arguments = dice.choice(
        [
            (
                f"set the lights in the {room} to {amount} percent",
                "set_light",
                {"room": room, "percent": amount},
            ),
            (f"dim the {room} to {amount}%", "set_light", {"room": room, "percent": amount}),
            (
                f"make the {room} {amount / 4} degrees warm",
                "set_temperature",
                {"room": room, "degrees": amount / 4},
            ),
            (
                f"heat the {room} to {amount / 4}",
                "set_temperature",
                {"room": room, "degrees": amount / 4},
            ),
            (
                f"wake me at {clock} for {name} {number}",
                "set_alarm",
                {"time": clock, "label": f"{name} {number}"},
            ),
            (
                f"put on {name} by {other} number {number}",
                "play",
                {"title": f"{name} by {other} number {number}"},
            ),
            (
                f"tell {other} that {name} is at gate {number}",
                "send_message",
                {"to": other, "body": f"{name} is at gate {number}"},
            ),
            (
                f"we need {amount} of {name} {number % 977}",
                "add_to_list",
                {"item": f"{name} {number % 977}", "count": amount},
            ),
            (f"add {amount} {other} to the list", "add_to_list", {"item": other, "count": amount}),
        ]
    )
    return {
        "user_content": dice.choice(POLITE) + said + dice.choice(ENDS),
        "tool_name": called,
        "tool_arguments": json.dumps(arguments),
    }


def write(path: Path, count: int, seed: int) -> Path:
    """Write a data file of made-up rows."""
    with open(path, "w", encoding="utf-8") as file:
        for row in rows(count, seed):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=int, default=100_000, help="training rows (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the rows (default: %(default)s)")
    parser.add_argument(
        "--tokens", action="store_true", help="count tokens with the offline base's tokenizer"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = write(Path(folder, "rows.jsonl"), options.rows, options.seed)
        held_out = write(Path(folder, "eval.jsonl"), max(options.rows // 50, 1), options.seed + 1)
        tools = Path(folder, "tools.json")
        tools.write_text(json.dumps(TOOLS))
        from fgkit.tools import load_tools

        start, busy = time.monotonic(), time.process_time()
        with contextlib.redirect_stdout(sys.stderr):
            tokenizer, why = (
                tokenizers.find_tokenizer("offline")
                if options.tokens
                else (None, "--tokens was not given.")
            )
        limits = TokenLimits(
            FinetuneConfig.max_length, TfliteConfig.prefill_seq_len, TfliteConfig.kv_cache_max_len
        )
        report = data_report.inspect(
            data,
            load_tools(tools),
            held_out,
            limits=limits,
            tokenizer=tokenizer,
            without_lengths=why,
        )
        print(
            json.dumps(
                {
                    "rows": options.rows,
                    "held_out": max(options.rows // 50, 1),
                    "tokens": options.tokens,
                    "seconds": round(time.monotonic() - start, 1),
                    "cpu_seconds": round(time.process_time() - busy, 1),
                    "peak_memory_gb": peak_memory_gb(),
                    "rules": dict(sorted(report.counts.items())),
                }
            )
        )


if __name__ == "__main__":
    main()
