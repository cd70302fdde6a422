"""`mdmf predict`: classifies the user's clips by a few examples of each action."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HELP = "classify new clips by a folder of examples per action, without training or with a run"
TAKES_SETTINGS = True


def _path(text: str) -> Path:
    """A path, for argparse; an empty text, as of an unset shell variable, is an error."""
    if not text:
        raise argparse.ArgumentTypeError("a path is empty; give `.` for the current folder")
    return Path(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--support", required=True, type=_path, metavar="DIR", help="a folder per action, with one or more clips each"
    )
    parser.add_argument(
        "--query", required=True, nargs="+", type=_path, metavar="CLIP", help="clips to classify, or folders of them"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--run", type=Path, metavar="RUN", help="run folder of a trained model")
    source.add_argument(
        "--cfg",
        metavar="C",
        help="config of a model without training; default: predict (otam on CLIP ViT-B/16)",
    )
    parser.add_argument("--window", metavar="W", help="classify windows of long videos: 2s, or 48f for frames")
    parser.add_argument("--stride", metavar="S", help="distance of windows; default: half a window")
    parser.add_argument(
        "--unknown-below",
        type=float,
        metavar="P",
        help="answer `none of these` if the best class is less probable than P; the probabilities of a model are not "
        "calibrated, so choose P with clips that you know",
    )
    parser.add_argument(
        "--text",
        choices=("auto", "on", "off"),
        default="auto",
        help="whether the text of the class names is part of the answer, with the weight model.text_weight; auto: if "
        "every name consists of words (ride_bike, not class_01), or data.prompts is given",
    )
    parser.add_argument("--csv", type=Path, metavar="F", help="write the probabilities of every class as CSV")
    parser.add_argument("--json", type=Path, metavar="F", help="write them as JSON, with notes")
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="folder of the features, reused by the next call; default: stores/predict",
    )


def run(arguments: argparse.Namespace) -> int:
    """Classify the clips; returns 1 if none could be read."""
    from mdmf.files import check_outputs, write_atomic
    from mdmf.recognition.recognizer import FewShotRecognizer, parse_request
    from mdmf.recognition.rendering import predictions_csv, predictions_text, segments

    files = [path for path in (arguments.csv, arguments.json) if path is not None]
    check_outputs(files)
    options = {"window": arguments.window, "stride": arguments.stride, "unknown_below": arguments.unknown_below}
    parse_request(arguments.query, **options)
    recognizer = FewShotRecognizer(
        arguments.run,
        arguments.cfg,
        overrides=arguments.overrides,
        text=arguments.text,
        store=arguments.store,
        progress=not arguments.quiet,
        allow_code=arguments.allow_code,
    ).fit(arguments.support)
    predictions = recognizer.predict(arguments.query, **options)
    result = predictions.to_dict()
    if arguments.window is not None:
        result["segments"] = segments(result)
    print(predictions_text(result))
    outputs = {}
    if arguments.csv is not None:
        outputs[arguments.csv] = predictions_csv(result)
    if arguments.json is not None:
        outputs[arguments.json] = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    for path, text in outputs.items():
        write_atomic(path, text.encode())
        print(f"result: {path}")
    return 0 if predictions.has_answer.any() else 1
