"""Times of the parts of extraction: `python benchmarks/extraction.py data.root=… [encoder.library=tiny …]`.

Decoding, flow and encoding are each measured alone, on one thread, on the same videos; then the whole extraction of
rgb, and of rgb and flow in one pass, with the default number of decoding processes. Rates are sampled frames (T per
video) per second; each row also has the ratio to encoding alone, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    """Measure, print a table, and write JSON with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", default="clips", help="config of the data, encoder and flow")
    parser.add_argument("--videos", type=int, default=100, help="videos to measure on, spread over the data set")
    parser.add_argument("--repeats", type=int, default=3, help="number of repeats, of which the median is printed")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()

    from mdmf.config import load_settings
    from mdmf.report.table import Table
    from mdmf.settings import method_settings

    settings = load_settings(arguments.cfg, [*arguments.overrides, "evaluation.baselines=[]"])
    settings = settings.model_copy(update={"model": method_settings({"name": "late_fusion", "of": "otam"})})
    rates = measure(settings, n_videos=arguments.videos, repeats=arguments.repeats)
    alone = rates["encoding alone"]
    rows = [[name, f"{rate:.0f}", f"{rate / alone:.2f}"] for name, rate in rates.items()]
    print(Table("extraction", "", ["what", "frames/s", "ratio to encoding alone"], rows).text())
    if arguments.json:
        arguments.json.write_text(json.dumps(rates, indent=2) + "\n")


def measure(settings, *, n_videos: int, repeats: int) -> dict[str, float]:
    """Median frames per second of each part."""
    import cv2
    import torch

    from mdmf.data.video.opening import open_video
    from mdmf.data.views.flow_views import neighbour_frames
    from mdmf.data.views.frame_choice import choose_frames
    from mdmf.data.views.optical_flow import draw_flow, optical_flow
    from mdmf.data.views.preprocess import resize_crop
    from mdmf.engine.workspace import Workspace
    from mdmf.settings import method_settings

    cv2.setNumThreads(1)
    n_threads = torch.get_num_threads()
    workspace = Workspace(settings, progress=False)
    every = workspace.index.records
    records = [every[place] for place in np.linspace(0, len(every) - 1, min(n_videos, len(every))).astype(int)]
    encoder, T = workspace.encoder("rgb"), settings.frames.n_frames
    flow = settings.sources["flow"]
    n_frames = len(records) * T

    def decode(*, with_neighbours: bool) -> list[tuple[np.ndarray, np.ndarray]]:
        clips = []
        for record in records:
            with open_video(record.path, decoder=settings.data.decoder) as reader:
                first, second = neighbour_frames(choose_frames(reader.n_frames, T), reader.n_frames, flow.step)
                wanted = np.unique(np.concatenate([first, second]) if with_neighbours else first)
                frames = dict(zip(wanted.tolist(), reader.read(wanted), strict=True))
                clips.append(([frames[n] for n in first.tolist()], [frames.get(n) for n in second.tolist()]))
        return clips

    clips = decode(with_neighbours=True)
    pairs = [pair for first, second in clips for pair in zip(first, second, strict=True)]
    flows = [optical_flow(*pair, short_side=flow.short_side) for pair in pairs]
    pictures = torch.from_numpy(np.stack([resize_crop(first, encoder.preprocess) for first, _ in pairs]))

    def flow_by(method: str) -> Callable[[], object]:
        return lambda: [optical_flow(*pair, method=method, short_side=flow.short_side) for pair in pairs]

    def extraction(model: str | dict[str, str]) -> Callable[[], object]:
        def run() -> None:
            with tempfile.TemporaryDirectory() as folder:
                sources = {
                    name: source.model_copy(update={"store": Path(folder) / name})
                    for name, source in settings.sources.items()
                }
                changed = {"sources": sources, "model": method_settings(model)}
                Workspace(settings.model_copy(update=changed), progress=False).extract()

        return run

    parts: dict[str, Callable[[], object]] = {
        "decoding alone": lambda: decode(with_neighbours=False),
        "decoding with the neighbours that flow needs": lambda: decode(with_neighbours=True),
        "flow alone, DIS": flow_by("dis"),
        "flow alone, Farneback": flow_by("farneback"),
        "drawing and cutting flow": lambda: [
            resize_crop(draw_flow(each, clip=flow.clip, drawing=flow.drawing), encoder.preprocess) for each in flows
        ],
        "encoding alone": lambda: [encoder.encode_images(batch) for batch in pictures.split(256)],
    }
    torch.set_num_threads(1)
    rates = {name: n_frames / _median_seconds(part, repeats) for name, part in parts.items()}
    torch.set_num_threads(n_threads)
    both = {"name": "late_fusion", "of": "otam"}
    for name, model in (("extraction of rgb", "otam"), ("extraction of rgb and flow in one pass", both)):
        rates[f"{name}, all {len(every)} videos"] = len(every) * T / _median_seconds(extraction(model), repeats)
    return rates


def _median_seconds(part: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        part()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


if __name__ == "__main__":
    main()
