"""``python -m cheep`` is the ``cheep`` command."""

from cheep.cli import main

raise SystemExit(main())
