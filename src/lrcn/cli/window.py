"""A window that shows pictures, where there is a display: Tk's, as the OpenCV that lrcn comes with has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrcn.errors import LrcnError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Window:
    """A window; `open` until somebody closes it, or presses Escape or q.

    Args:
        title: what it is called.

    Raises:
        LrcnError: there is no display, or no Tk.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise LrcnError(
                "--window needs Tk, which this Python lacks: install it (python3-tk), or use --save film.mp4."
            ) from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise LrcnError(
                "--window: there is no display here; leave it out, or use --save film.mp4."
            ) from error
        self._tk: Any = tkinter
        self.open = True
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        for key in ("<Escape>", "q"):
            self._root.bind(key, lambda _: self.close())
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Shows a picture (H, W, 3) RGB."""
        height, width = picture.shape[:2]
        header = f"P6 {width} {height} 255\n".encode()
        # Kept, as Tk does not keep it.
        self._image = self._tk.PhotoImage(data=header + picture.tobytes())
        self._label.configure(image=self._image)
        self.refresh()

    def refresh(self) -> None:
        """Lets the window react."""
        if self.open:
            self._root.update()

    def close(self) -> None:
        """Takes it away."""
        if self.open:
            self.open = False
            self._root.destroy()
