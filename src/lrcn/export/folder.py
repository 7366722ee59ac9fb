"""One model -> one exported folder: graphs, what a runtime needs beside them, and how far they are from the model."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lrcn.data.sampling import Sampling
from lrcn.data.tokenizer import Tokenizer
from lrcn.errors import LrcnError
from lrcn.export.card import card
from lrcn.export.formats import check_installed, onnx_to_openvino, open_graph, write_graph
from lrcn.export.int8 import Cost, cost, halves, quantize, read_samples
from lrcn.export.parity import TOLERANCE, Opened, Parity
from lrcn.export.tasks import Job, job_of
from lrcn.export.triton import write_repository
from lrcn.exported import DESCRIPTION, Exported, Form, GraphFile, settings_of, write_exported
from lrcn.files import whole_folder, write_whole

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What came of an export.

    Attributes:
        folder: where it is.
        parity: of the graphs that were compared.
        int8: what 8 bits cost; None where they were not asked for.
    """

    folder: Path
    parity: Mapping[str, Parity]
    int8: Cost | None = None

    def lines(self) -> list[str]:
        """What came of it, for a terminal."""
        told = [f"Wrote {self.folder}."]
        told += [
            f"{name}: {part.compared} compared with the model on real frames, largest difference "
            f"{part.max_difference:.1e}, same label {part.same_labels:.1%}."
            for name, part in self.parity.items()
        ]
        return told if self.int8 is None else [*told, f"8 bits: {self.int8.sentence()}"]


def export(
    model: Path,
    form: Form,
    out: Path,
    *,
    batch: int | None = None,
    int8: bool = False,
    calibrate: Sequence[str] = (),
    triton: bool = False,
    tell: Tell = lambda _sentence: None,
) -> Result:
    """Writes a model's graphs, whole or not at all.

    Args:
        model: the model folder.
        form: what the graphs are written in.
        out: the exported folder; is replaced when it is one already.
        batch: fixes how many streams, clips or sentences go through at a time; None leaves it open.
        int8: also writes the graph that sees frames with 8-bit numbers.
        calibrate: videos or photos, folders of them, one manifest, or a recipe that makes its clips: for 8-bit numbers,
            and to measure what they cost;
            none takes the film and the photos that ship.
        triton: also writes a model repository for Triton.
        tell: is called with what is being done.

    Raises:
        LrcnError: what it takes is not installed; the model cannot be exported so; or a graph differs from the model
            by more than rounding, in which case nothing is left behind.
    """
    check_installed(form, int8=int8)
    _refuse_other_things(out)
    tell(f"loading {model}")
    task, job = job_of(model, form, batch)
    if int8 and job.sees is None:
        raise LrcnError(f"{model} has no graph of one frame to write with 8-bit numbers: leave --int8 out.")
    if triton and (task != "recognize" or job.sees is None):
        raise LrcnError(
            f"{model} keeps no state from frame to frame, for which Triton is set up: leave --triton out."
        )
    with whole_folder(out) as folder:
        files = {}
        for graph in job.graphs:
            tell(f"writing {graph.name}")
            files[graph.name] = write_graph(graph, form, folder, free=batch is None)
        tell("comparing with the model on real frames")
        opened = {name: Opened(file, open_graph(folder, file, form)) for name, file in files.items()}
        parity = job.compare(opened, job.frames)
        _refuse_differences(parity, form)
        costs = None
        if int8:
            tell("calibrating 8-bit numbers")
            costs = _write_int8(folder, files, opened, job, form, calibrate)
        if triton:
            write_repository(
                folder / "triton",
                model.resolve().name,
                folder / files["step"].file,
                files["step"],
                _labels(job),
            )
        if form == "openvino":
            for file in folder.glob("*.onnx"):
                file.unlink()
        exported = Exported(
            lrcn=version("lrcn"),
            name=model.resolve().name,
            task=task,
            form=form,
            graphs=files,
            resize=job.preparation.resize,
            steps=settings_of(job.preparation),
            sampling=job.sampling or Sampling(),
            words=job.words,
            slots=job.slots,
        )
        _write_rest(folder, exported, job, Result(out, parity, costs))
    return Result(out, parity, costs)


def _write_int8(
    folder: Path,
    files: dict[str, GraphFile],
    opened: Mapping[str, Opened],
    job: Job,
    form: Form,
    clips: Sequence[str],
) -> Cost:
    """Writes the 8-bit graph and notes it in `files`; says what it costs."""
    name = job.sees
    assert name is not None
    samples, others = read_samples(clips, job.preparation, job.sampling) if clips else halves(job.frames)
    onnx, eight = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
    calibrated_on = quantize(onnx, eight, opened[name], samples)
    file = eight.name
    if form == "openvino":
        file = f"{name}.int8.xml"
        onnx_to_openvino(eight, folder / file)
    files[name] = replace(files[name], int8=file)
    narrow = Opened(files[name], open_graph(folder, files[name], form, int8=True))
    mixed = {**opened, name: narrow} if "word" in opened or "sentence" in opened else {name: narrow}
    return cost(
        calibrated_on,
        lambda frames: next(iter(job.compare(mixed, frames).values())),
        (narrow, opened[name]),
        others,
        _labels(job),
    )


def _refuse_differences(parity: Mapping[str, Parity], form: Form) -> None:
    for name, part in parity.items():
        if not part.holds:
            raise LrcnError(
                f"The {form} graph {name} differs from the model by {part.max_difference:.1e} on real frames, more "
                f"than {TOLERANCE:.0e}: nothing was written; try another form, or report it."
            )


def _refuse_other_things(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / DESCRIPTION).is_file():
        raise LrcnError(
            f"{out} holds other things than an exported model, which would be lost: choose another folder."
        )


def _write_rest(folder: Path, exported: Exported, job: Job, result: Result) -> None:
    """All but the graphs."""
    write_exported(folder, exported)
    if isinstance(job.names, Tokenizer):
        job.names.save(folder / "tokenizer.json")
    else:
        write_whole(folder / "labels.json", json.dumps(job.names, indent=0, ensure_ascii=False) + "\n")
    report: dict[str, Any] = {
        "tolerance": TOLERANCE,
        "graphs": {name: asdict(part) for name, part in result.parity.items()},
        "int8": None if result.int8 is None else asdict(result.int8),
        "versions": _versions(exported.form),
    }
    write_whole(folder / "parity.json", json.dumps(report, indent=2) + "\n")
    write_whole(folder / "README.md", card(exported, result.parity, result.int8))


def _versions(form: Form) -> dict[str, str]:
    engine = {"onnx": "onnxruntime", "openvino": "openvino"}.get(form)
    return {"lrcn": version("lrcn"), "torch": torch.__version__} | (
        {engine: version(engine)} if engine else {}
    )


def _labels(job: Job) -> list[str]:
    return job.names if isinstance(job.names, list) else []
