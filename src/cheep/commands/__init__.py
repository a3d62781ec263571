"""One module per subcommand: ``add_arguments(parser)`` and ``run(args) -> int``. The only code that prints."""
