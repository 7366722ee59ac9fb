"""Words and times as people read them, on one line; imports nothing heavy, so that any room may use it."""


def one_line(text: str) -> str:
    """Text on one line, without characters that steer a terminal."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in " ".join(text.split())
    )


def clock(seconds: float, *, tenths: bool) -> str:
    """Seconds as m:ss or h:mm:ss, with tenths if asked."""
    tens = round(seconds * 10)
    whole = f"{tens // 600}:{tens // 10 % 60:02d}"
    if tens >= 36000:
        whole = f"{tens // 36000}:{tens // 600 % 60:02d}:{tens // 10 % 60:02d}"
    return f"{whole}.{tens % 10}" if tenths else whole
