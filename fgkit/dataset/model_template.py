"""Compare prompts with what a model's own chat template writes, in a bounded child process.

A chat template is a program that comes with a model. transformers renders it in Jinja's sandbox,
which keeps it from Python's internals, but not from looping for ever or asking for all memory. So a
template that is not fgkit's own is rendered by another process with a limited time and memory.

Example:

    difference = first_difference(template, [(messages, tools, text)], {"bos_token": "<bos>"})
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fgkit.chat_types import Message, ToolDeclaration
from fgkit.errors import ModelError
from fgkit.subprocesses import python_path

# FunctionGemma's needs a millisecond for a conversation; starting the process needs the rest.
CPU_SECONDS = 10
SECONDS_A_ROW = 0.05
WALL_FACTOR = 10
MEMORY_BYTES = 1_000_000_000
MAX_TEMPLATE = 1_000_000
_MAX_SHOWN = 100_000


class Expected(NamedTuple):
    """A conversation and the text that its prompt has in fgkit."""

    messages: Sequence[Message]
    tools: Sequence[ToolDeclaration]
    text: str


class Difference(NamedTuple):
    """The first conversation that a template writes differently; `text` is the template's."""

    row: int
    text: str


def first_difference(
    template: str, expected: Sequence[Expected], variables: Mapping[str, Any]
) -> Difference | None:
    """Render conversations with a template nobody has to trust, and find one with another text.

    Args:
        template: the Jinja text.
        expected: conversations with the texts that they should give.
        variables: what the template may refer to besides messages and tools, such as `bos_token`.
    Raises:
        ModelError: the template fails, takes too long, or needs too much memory.
    """
    if len(template) > MAX_TEMPLATE:
        raise _refusal(f"has {len(template):,} characters, expected a few thousand")
    seconds = CPU_SECONDS + SECONDS_A_ROW * len(expected)
    request = {
        "template": template,
        "expected": [[list(one.messages), list(one.tools), one.text] for one in expected],
        "variables": dict(variables),
        "cpu_seconds": seconds,
        "memory_bytes": MEMORY_BYTES,
    }
    answer = _asked(request, seconds)
    if "problem" in answer:
        raise _refusal(str(answer["problem"]))
    if "row" in answer:
        return Difference(int(answer["row"]), str(answer["text"]))
    return None


def _asked(request: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Send a request to a new process and return its answer."""
    code = "from fgkit.dataset import model_template; model_template.main()"
    # A template sees no variables of the environment, but what it does not have it cannot leak.
    environment = {key: value for key, value in os.environ.items() if "TOKEN" not in key.upper()}
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                input=json.dumps(request, default=str).encode(),
                stdout=output,
                stderr=subprocess.DEVNULL,
                env=environment | {"PYTHONPATH": python_path()},
                timeout=WALL_FACTOR * seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"problem": f"was not finished after {WALL_FACTOR * seconds:.0f} seconds"}
        output.seek(0)
        lines = output.read(10 * _MAX_SHOWN).decode("utf-8", "replace").splitlines()
    if done.returncode == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    if sys.platform != "win32" and -done.returncode in (signal.SIGXCPU, signal.SIGKILL):
        return {"problem": f"was not finished after {seconds:.0f} seconds of computing"}
    return {"problem": f"could not be rendered: the process for it ended with {done.returncode}"}


def _refusal(what: str) -> ModelError:
    return ModelError(
        f"The base model's chat template {what}. Nothing was trained. Get chat_template.jinja "
        "again from where the model was published, or start from another base (`--base offline`)."
    )


def main() -> None:
    """Answer the request on standard input; this is the child process."""
    request = json.load(sys.stdin)
    from transformers.utils.chat_template_utils import render_jinja_template

    _limit(request["cpu_seconds"], request["memory_bytes"])
    try:
        answer = _compared(request, render_jinja_template)
    # Whatever a template causes is its problem, not an error of this program.
    except MemoryError:
        answer = {"problem": f"needs more than {request['memory_bytes'] / 1e9:.0f} GB of memory"}
    except Exception as error:  # noqa: BLE001
        reason = " ".join((str(error) or type(error).__name__).split())[:300]
        answer = {"problem": f"cannot be rendered ({type(error).__name__}: {reason})"}
    print(json.dumps(answer), flush=True)
    # Without the interpreter's clean-up, which may need memory that is used up.
    os._exit(0)


def _compared(request: dict[str, Any], render: Any) -> dict[str, Any]:
    for row, (messages, tools, text) in enumerate(request["expected"]):
        rendered, _ = render(
            conversations=[messages],
            tools=tools,
            chat_template=request["template"],
            **request["variables"],
        )
        if rendered[0] != text:
            return {"row": row, "text": rendered[0][:_MAX_SHOWN]}
    return {}


def _limit(cpu_seconds: float, memory_bytes: int) -> None:
    """Bound what this process may use from here on, where the system can.

    macOS does not enforce the limit of memory and Windows has neither: there only the time on the
    clock is bounded, by the parent.
    """
    if sys.platform == "win32":
        return
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(usage.ru_utime + usage.ru_stime + cpu_seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
