"""Many videos on many machines: each worker of Ray loads the model once, and a file's record is a line.

    pip install "lrcn[scale]"
    python ray_batch.py films/*.mp4 --model camera-moves --workers 4 --out found.jsonl

The paths have to mean the same on every machine, as on a shared disk. A video that cannot be read is a record with an
error, and the others go on.
"""

import argparse
import json
from pathlib import Path

from lrcn.scale import recognize_bulk


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", help="videos, folders of videos, patterns")
    parser.add_argument("--model", default="camera-moves", help="a name of `lrcn models`, or a folder")
    parser.add_argument("--workers", type=int, default=2, help="models at the same time")
    parser.add_argument("--out", type=Path, default=Path("found.jsonl"))
    options = parser.parse_args()
    failed = 0
    with options.out.open("w", encoding="utf-8") as file:
        for record in recognize_bulk(options.inputs, model=options.model, workers=options.workers):
            failed += "error" in record
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            print(f"{record['path']}  {record.get('label') or record['error']}", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
