"""Every error that a user can cause.

Each message says where the problem is, what was found, what was expected and what to do. Example:

    train.jsonl:7: tool_name is 'show_alrt', which is no tool; did you mean 'show_alert'?
"""

from __future__ import annotations


class FgkitError(Exception):
    """Base of every error that a user can cause; the command line shows it without a traceback."""


class ConfigError(FgkitError):
    """One or more settings are wrong; the message lists all of them."""


class DataError(FgkitError):
    """The data file is wrong; the message has a line `file:line: ...` for each problem."""


class ToolError(FgkitError):
    """The tools file or a tool's schema is wrong, or the prompt format cannot express it."""


class PromptError(FgkitError):
    """A conversation cannot be rendered in the prompt format without changing its meaning."""


class CallSyntaxError(FgkitError):
    """Text written by the model is not a valid sequence of calls.

    Args:
        message: what was expected and what was found.
        offset: 0-based character offset into the parsed text at which parsing stopped.
    """

    def __init__(self, message: str, offset: int):
        super().__init__(f"{message} (at offset {offset})")
        self.offset = offset


class ArgumentError(FgkitError):
    """A call's arguments do not fit its tool's schema; the message has a line for each problem."""


class ModelError(FgkitError):
    """A base model or model folder is unavailable, incomplete or not what was expected."""


class BundleError(FgkitError):
    """A `.tflite`, `.task` or `.litertlm` file is missing, damaged or not the expected one."""


class PackageError(FgkitError):
    """A package that this step needs is missing or has the wrong version."""


class CheckFailed(FgkitError):
    """A numbered check or the gate found a problem; the command line exits 1 instead of 2."""
