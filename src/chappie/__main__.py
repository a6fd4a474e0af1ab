"""`python -m chappie`: the command line."""

import sys

from chappie.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
