"""What can be called: one module a command, with its words and what it does.

Each has ``add_words(parser)`` and ``act(options)``, which returns the exit status; the first
line of its docstring is its help.
"""
