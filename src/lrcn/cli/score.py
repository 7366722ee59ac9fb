"""`lrcn score`: the metrics of captions, for any two files of them."""

import json
from pathlib import Path

from lrcn.cli.call import Call, existing
from lrcn.cli.status import Status


def score(call: Call) -> int:
    """Scores captions against human ones."""
    call.example(
        "lrcn score --references captions_val2014.json --predictions results.json",
        "lrcn score --references dev.jsonl --predictions captions.jsonl --format json",
    )
    call.description = (
        f"{call.description} BLEU, ROUGE-L, CIDEr and CIDEr-D are those of the official code, without Java.\n"
        "Files are COCO's JSON, a mapping from image to captions, or one JSON object a line with image_id, id or "
        "path\nbeside caption or captions; references may also be a manifest."
    )
    call.add_argument(
        "--references", required=True, metavar="FILE", type=Path, help="human captions, any number an image"
    )
    call.add_argument(
        "--predictions", required=True, metavar="FILE", type=Path, help="the captions to score, one an image"
    )
    call.add_argument("--partial", action="store_true", help="score only the images that both files have")
    call.add_argument(
        "--tokenized",
        action="store_true",
        help="both are tokenised already: words with single blanks between them",
    )
    call.add_argument("--meteor", action="store_true", help="also METEOR; needs lrcn[metrics]")
    call.add_argument("--spice", action="store_true", help="also SPICE; needs lrcn[metrics] and its models")
    call.add_format()
    args = call.parse()
    for path in (args.references, args.predictions):
        existing(path, "a file of captions")
    with Status() as status:
        status.show("loading")
        from lrcn.evaluate.caption_files import matched, read_predictions, read_references
        from lrcn.evaluate.captions import score_captions

        references = read_references(args.references)
        predictions = matched(references, read_predictions(args.predictions))
        status.show("scoring")
        scores = score_captions(
            references.captions,
            predictions,
            tokenized=args.tokenized,
            partial=args.partial,
            meteor=args.meteor,
            spice=args.spice,
            progress=lambda done, total: status.show("METEOR", done, total),
        )
    if args.format == "json":
        print(json.dumps(scores.to_json(), ensure_ascii=False))
    else:
        print("\n".join(scores.lines()))
    return 0
