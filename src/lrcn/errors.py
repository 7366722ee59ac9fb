"""The one exception a user ever reads."""


class LrcnError(Exception):
    """Something the user can mend: one sentence that names the thing and the fix."""
