"""What is refused, and how that is told."""

from lrcn.errors import LrcnError


class RefusedError(LrcnError):
    """A request that is not done.

    Args:
        status: of HTTP.
        sentence: one that names the thing and the fix.
        retry_after: seconds after which it is worth another try.
        close: whether the connection has to go, as there may be an upload on it that nobody reads.
    """

    def __init__(
        self, status: int, sentence: str, *, retry_after: int | None = None, close: bool = False
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry_after = retry_after
        self.close = close

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says besides."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"Connection": "close"} if self.close else {})


STOPPING = "The server is stopping: ask again when it is back."
