"""``python -m harness`` is ``nsaudit``."""

from harness.cli import main

main()
