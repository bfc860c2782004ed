"""`python -m fgkit`: the command line, also installed as the script `fgkit`."""

import sys

from fgkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
