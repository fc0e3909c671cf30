"""What the command line says when the person at the keyboard can mend it."""


class UserError(Exception):
    """One line for stderr, exit status 1."""
