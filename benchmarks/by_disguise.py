"""Accuracy by the disguise of the query, on the complementary world: `python benchmarks/by_disguise.py RUN…`.

Reads the test results of finished runs, without GPU and features. In a camouflaged video only motion shows the objects,
in a shaken one only single frames do, so the reliable source is known. Runs whose names differ only in `-seed<number>`
are averaged. Columns:
- `trusts rgb`: share of queries for which rgb has the larger share in the answer (for fixed shares: is more certain);
- `taught by`: share of queries taught by each source;
- `takes alike`: share of queries for which a branch answers with a class whose first support video has the disguise of
  the query; `chance` is this share for a random class. The difference is similarity of the disguise, not of the action.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    """Print a table with a row for each config and disguise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="+", type=Path, help="run folders")
    parser.add_argument("--test", default="test_5way_1shot", help="name of the test")
    arguments = parser.parse_args()

    from mdmf.report.table import Table, number
    from mdmf.statistics import mean_and_spread

    by_row: dict[tuple[str, str], list[dict[str, float]]] = {}
    for folder in arguments.run:
        config = re.sub(r"-seed\d+$", "", folder.name)
        for disguise, numbers in by_disguise(folder, arguments.test).items():
            by_row.setdefault((config, disguise), []).append(numbers)
    columns = list(dict.fromkeys(name for numbers in by_row.values() for name in numbers[0]))
    rows = []
    for (config, disguise), by_seed in by_row.items():
        cells = []
        for column in columns:
            values = [numbers[column] for numbers in by_seed if column in numbers]
            mean, spread = mean_and_spread(values) if values else (None, None)
            cells.append(number(mean, ".1f", spread=spread))
        rows.append([config, disguise, *cells])
    print(Table("disguises", "", ["config", "query", *columns], rows).text())


def by_disguise(folder: Path, test: str) -> dict[str, dict[str, float]]:
    """Disguise of the query -> measures of the run's model on such queries, in percent."""
    from mdmf.results import ResultFiles, read_episodes, read_result
    from mdmf.shapes.world import video_disguise

    files = ResultFiles(folder, test.removeprefix("test_"))
    result = read_result(files.result)
    episodes, shapes = read_episodes(files.episodes, result), result.settings["data"]["shapes"]
    answers = episodes.answers[result.model]
    disguise_of_video = np.array(
        [
            video_disguise(
                class_name,
                seed=shapes["seed"],
                number=int(Path(file).stem),
                camouflage_share=shapes["camouflage_share"],
                shake_share=shapes["shake_share"],
            )
            for class_name, file in (video.split("/") for video in episodes.video_ids)
        ]
    )
    disguises, labels = disguise_of_video[episodes.query], episodes.labels
    support = disguise_of_video[episodes.support[:, :, 0]]  # (n, N)
    branches = answers.branch_posteriors
    posteriors = {branch: branches[branch] for branch in ("rgb", "flow") if branch in branches}
    measures = {"fused": answers.predictions == labels}
    measures |= {f"{branch} alone": posterior.argmax(-1) == labels for branch, posterior in posteriors.items()}
    if len(posteriors) == 2:
        rgb, flow = (posterior.max(-1).astype(np.float32) for posterior in posteriors.values())
        if answers.fusion_weights:
            rgb, flow = (answers.fusion_weights[branch].astype(np.float32) for branch in ("rgb", "flow"))
        measures["trusts rgb"] = (np.sign(rgb - flow) + 1) / 2
    for branch, posterior in posteriors.items():
        measures[f"{branch} takes alike"] = np.take_along_axis(support, posterior.argmax(-1), axis=1) == disguises
    measures["chance"] = (support[:, None, :] == disguises[..., None]).mean(axis=-1)
    if answers.teacher is not None:
        measures |= {f"taught by {branch}": answers.teacher == n for n, branch in enumerate(("rgb", "flow"))}
    return {
        disguise: {name: 100 * float(values[disguises == disguise].mean()) for name, values in measures.items()}
        for disguise in np.unique(disguises).tolist()
    }


if __name__ == "__main__":
    main()
