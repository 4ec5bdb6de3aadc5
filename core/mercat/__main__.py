"""`python -m mercat` is `mercat`: that is how torchrun starts it."""

import sys

from mercat.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
