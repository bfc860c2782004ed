"""Reads parameter files, the YAML mappings that `run -f` and papermill take.

Example:

    read_parameters("notebooks/params/home.yaml")["output"]    # 'run_home'
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgkit import files
from fgkit.errors import ConfigError

# In bytes.
_LARGEST_PARAMETERS = 1 << 20


def read_parameters(path: str | Path) -> dict[str, Any]:
    """Read a papermill parameter file, a YAML mapping such as `output: run_home`.

    Args:
        path: the file; as for papermill, paths in it are relative to the working directory.
    Returns:
        the values by name, with the types that YAML gives them; `plan` checks names and values.
    Raises:
        ConfigError: the file cannot be read, is not YAML or not a mapping of names, or contains a
            name twice.
    """
    import yaml

    text = files.read_text(path, "a parameter file", limit=_LARGEST_PARAMETERS, error=ConfigError)
    path = Path(path).expanduser()
    loader = _without_shared_values()
    try:
        tree, values = yaml.compose(text, Loader=loader), yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(
            f"{path}{line}: no YAML: {error.problem}. Write lines such as `output: my_run`."
        ) from error
    # Whatever PyYAML's own constructors fail with, such as a 31st of June or 6,000 digits.
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
        ArithmeticError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise ConfigError(
            f"{path}: no YAML: {error}. Write lines such as `output: my_run`."
        ) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: found {type(values).__name__}, expected a mapping: lines such as "
            "`output: my_run`."
        )
    problems, seen = [], set()
    for key, _ in tree.value:
        place = f"{path}:{key.start_mark.line + 1}"
        if key.tag != "tag:yaml.org,2002:str":
            problems.append(
                f"{place}: the name is {key.value!r}, expected text. Put a parameter's name there."
            )
        elif key.value in seen:
            problems.append(f"{place}: {key.value!r} stands there twice. Keep one of the lines.")
        seen.add(str(key.value))
    if problems:
        raise ConfigError("\n".join(problems))
    return values


def _without_shared_values() -> Any:
    """PyYAML's safe loader without aliases of lists and mappings, by which 1 kB stands for 1 GB."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event = self.peek_event()
                # A value that contains itself has no finished node yet.
                if not isinstance(self.anchors.get(event.anchor), yaml.ScalarNode):
                    raise yaml.composer.ComposerError(
                        None,
                        None,
                        f"the alias *{event.anchor[:80]} repeats a list or mapping; write it out",
                        event.start_mark,
                    )
            return super().compose_node(parent, index)

    return Loader
