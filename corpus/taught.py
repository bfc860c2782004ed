"""Write the taught base as a model folder.

python -m corpus.taught DELTA TARGET [--base offline]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fgkit.models.base import find_base

from . import delta


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("delta", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--base", default="offline")
    options = parser.parse_args()
    print(delta.write_taught_folder(find_base(options.base).folder, options.delta, options.target))


if __name__ == "__main__":
    main()
