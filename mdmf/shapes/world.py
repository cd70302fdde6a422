"""The embedded world: video files of moving coloured shapes, generated from a seed."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from tqdm import tqdm

from mdmf.data.listing.splits import load_class_split
from mdmf.files import write_json
from mdmf.shapes.actions import ACTIONS
from mdmf.shapes.disguises import DISGUISES, Scene
from mdmf.shapes.drawing import (
    ANGLED_SHAPES,
    SHAPE_NAMES,
    Sprites,
    draw_background,
    random_colours,
    random_distractors,
)

logger = logging.getLogger(__name__)

WORLD_VERSION = 1  # increase it with every change of a pixel: the folder of another version is then an error
FRAME_SIZE = 72
N_FRAMES = (24, 32)
FRAMES_PER_SECOND = 12
_SHAKE = 0.025  # largest camera offset, in frame sides
_CODEC_OPTIONS = {
    # With mbtree, libx264 encodes the same small frames to different bytes each time (observed with PyAV 18).
    "libx264": {"preset": "veryfast", "crf": "18", "threads": "1", "mbtree": "0"},
    "mpeg4": {"qscale": "3", "threads": "1"},
}

SHAPES_SPLIT = load_class_split("shapes")


@dataclass(frozen=True)
class WorldSettings:
    """Settings that determine the pixels of a world, as stored in its `world.json`."""

    n_videos_per_class: int
    seed: int
    codec: str
    version: int = WORLD_VERSION
    frame_size: int = FRAME_SIZE
    camouflage_share: float = 0.0
    shake_share: float = 0.0


_LATER_SETTINGS = {"camouflage_share": 0.0, "shake_share": 0.0}  # not in the world.json of earlier versions


def write_shapes_world(
    root: Path,
    *,
    n_videos_per_class: int = 24,
    seed: int = 0,
    camouflage_share: float = 0.0,
    shake_share: float = 0.0,
    n_workers: int | None = None,
    progress: bool = True,
) -> None:
    """Write the missing videos of the world as `root/<class>/<number>.mp4`, and its settings as `root/world.json`.

    A video is a function of (seed, class, number) and its disguise alone; the shares determine how many videos are
    disguised (`video_disguise`). With both above 0, frames are reliable in some videos and flow in others. Each file is
    written completely before it receives its name, so an interrupted call can be repeated.

    Args:
        n_workers: processes; None: one per CPU core. More than one are spawned: call this under
            `if __name__ == "__main__"`.

    Raises:
        ValueError: for impossible numbers, or if `root` contains a world with other settings or unrelated files.
    """
    if n_videos_per_class < 1:
        raise ValueError(f"n_videos_per_class must be at least 1, got {n_videos_per_class}")
    if n_workers is not None and n_workers < 1:
        raise ValueError(f"n_workers must be at least 1, got {n_workers}")
    _check_shares(camouflage_share, shake_share)
    root = Path(root)
    settings = WorldSettings(
        n_videos_per_class=n_videos_per_class,
        seed=seed,
        codec=_choose_codec(),
        camouflage_share=float(camouflage_share),
        shake_share=float(shake_share),
    )
    _write_or_check_settings(root, settings)
    missing = [
        (class_name, number)
        for class_name in ACTIONS
        for number in range(n_videos_per_class)
        if not video_path(root, class_name, number).is_file()
    ]
    if not missing:
        logger.info("the moving-shapes world in %s is complete", root)
        return
    n_workers = min(n_workers or os.cpu_count() or 1, len(missing))
    with tqdm(total=len(missing), desc="drawing videos", unit="video", disable=not progress) as bar:
        for n_written in _write_all(root, missing, settings, n_workers):
            bar.update(n_written)


def video_path(root: Path, class_name: str, number: int) -> Path:
    """The path of video `number` of a class."""
    return root / class_name / f"{number:03d}.mp4"


def video_disguise(class_name: str, *, seed: int, number: int, camouflage_share: float, shake_share: float) -> str:
    """The disguise of a video: `plain`, `camouflage` (only flow is reliable) or `shake` (only single frames are).

    The random number of a video does not depend on the shares: a larger share disguises the same videos and more.

    Raises:
        ValueError: for shares below 0, or with a sum above 1.
    """
    _check_shares(camouflage_share, shake_share)
    draw = _generator(class_name, seed, number, 1).random()
    if draw < camouflage_share:
        return "camouflage"
    return "shake" if draw >= 1.0 - shake_share else "plain"


def render_video(class_name: str, *, seed: int, number: int, disguise: str = "plain") -> np.ndarray:
    """The frames (T, S, S, 3) uint8 RGB of one video, before compression.

    Objects and motion are the same under every disguise.

    Raises:
        ValueError: for an unknown class or disguise.
    """
    if class_name not in ACTIONS:
        raise ValueError(
            f"unknown action class {class_name!r} of the moving-shapes world; expected one of {list(ACTIONS)}"
        )
    if disguise not in DISGUISES:
        raise ValueError(f"unknown disguise {disguise!r}; expected one of {list(DISGUISES)}")
    scene = _draw_scene(class_name, _generator(class_name, seed, number))
    canvas = DISGUISES[disguise](scene, _generator(class_name, seed, number, 2))
    return np.round(canvas * 255).astype(np.uint8)


def _generator(class_name: str, seed: int, number: int, *stream: int) -> np.random.Generator:
    """A generator of a video: without `stream` for the scene, 1 for the choice of the disguise, 2 for its rendering."""
    return np.random.default_rng([seed, zlib.crc32(class_name.encode()), number, *stream])


def _draw_scene(class_name: str, rng: np.random.Generator) -> Scene:
    n_frames = int(rng.integers(N_FRAMES[0], N_FRAMES[1] + 1))
    camera = _camera_shake(rng, n_frames)
    background = draw_background(rng, FRAME_SIZE + 2 * int(np.ceil(_SHAKE * FRAME_SIZE)))
    objects = action_sprites(class_name, np.linspace(0.0, 1.0, n_frames), rng)
    distractors = _repeat(random_distractors(rng), n_frames)
    return Scene(background, camera, (distractors, objects), FRAME_SIZE)


def action_sprites(class_name: str, u: np.ndarray, rng: np.random.Generator) -> Sprites:
    """The objects of one video of a class at the times `u` (T,) in 0..1, with random shapes and colours."""
    action = ACTIONS[class_name]
    motion = action.motion(u, rng)
    n_frames, n_objects = motion.radius.shape
    shapes = rng.choice(ANGLED_SHAPES if action.needs_angle else SHAPE_NAMES, n_objects)
    indices = np.array([SHAPE_NAMES.index(shape) for shape in shapes])
    _, rgb = random_colours(rng, n_objects)
    return Sprites(
        shape=np.broadcast_to(indices, (n_frames, n_objects)),
        colour=np.broadcast_to(rgb, (n_frames, n_objects, 3)),
        centre=motion.centre,
        radius=motion.radius,
        angle=motion.angle,
        visible=motion.visible,
    )


def _camera_shake(rng: np.random.Generator, n_frames: int) -> np.ndarray:
    """A smooth random walk of the camera (T, 2) in whole pixels, at most `_SHAKE` of a side."""
    phase, pace = rng.uniform(0, 2 * np.pi, (2, 2)), rng.uniform(0.5, 4.0, (2, 2))
    time = np.linspace(0.0, 2 * np.pi, n_frames)[:, None, None]
    waves = np.sin(pace * time + phase).mean(axis=-1)  # (T, 2)
    return np.round(rng.uniform(0.0, _SHAKE) * FRAME_SIZE * waves).astype(int)


def _repeat(sprites: Sprites, n_frames: int) -> Sprites:
    return Sprites(**{name: np.repeat(values, n_frames, axis=0) for name, values in vars(sprites).items()})


def _check_shares(camouflage_share: float, shake_share: float) -> None:
    if not (camouflage_share >= 0 and shake_share >= 0 and camouflage_share + shake_share <= 1):
        raise ValueError(
            "camouflage_share and shake_share must be at least 0 and together at most 1, "
            f"got {camouflage_share} and {shake_share}"
        )


# Files ---------------------------------------------------------------------------------------------------------------


def _choose_codec() -> str:
    for codec in _CODEC_OPTIONS:
        if codec in av.codecs_available:
            return codec
    raise RuntimeError(f"PyAV was built without any of the video encoders {list(_CODEC_OPTIONS)}; install PyAV's wheel")


def _write_or_check_settings(root: Path, settings: WorldSettings) -> None:
    """Write the settings into an empty folder, or check that the world in the folder has the same settings."""
    path, requested = root / "world.json", asdict(settings)
    if not path.is_file():
        if root.is_dir() and any(root.iterdir()):
            raise ValueError(f"{root} is not empty and has no world.json; choose another folder for the world")
        write_json(path, requested)
        return
    stored = _LATER_SETTINGS | json.loads(path.read_text(encoding="utf-8"))
    differences = [
        f"{name}: {stored.get(name)!r} in the folder, {requested.get(name)!r} requested"
        for name in sorted(requested | stored)
        if stored.get(name) != requested.get(name)
    ]
    if differences:
        raise ValueError(
            f"the moving-shapes world in {root} has other settings ({'; '.join(differences)}); "
            "choose another folder or delete this one"
        )


def _write_video(root: Path, class_name: str, number: int, settings: WorldSettings) -> None:
    shares = {"camouflage_share": settings.camouflage_share, "shake_share": settings.shake_share}
    disguise = video_disguise(class_name, seed=settings.seed, number=number, **shares)
    frames = render_video(class_name, seed=settings.seed, number=number, disguise=disguise)
    path = video_path(root, class_name, number)
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _encode(frames, unfinished, settings.codec)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(frames: np.ndarray, path: Path, codec: str) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        # add_stream returns a VideoStream, but its type says so only for a literal codec.
        stream = cast(VideoStream, container.add_stream(codec, rate=FRAMES_PER_SECOND, options=_CODEC_OPTIONS[codec]))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


# Processes -----------------------------------------------------------------------------------------------------------


def _write_all(root: Path, videos: list[tuple[str, int]], settings: WorldSettings, n_workers: int) -> Iterator[int]:
    """Write the videos; yield the number of new ones after each step."""
    if n_workers == 1:
        for video in videos:
            yield _write_videos(root, [video], settings)
        return
    chunks = [videos[start : start + 8] for start in range(0, len(videos), 8)]
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=_start_worker)
    try:
        for done in as_completed([pool.submit(_write_videos, root, chunk, settings) for chunk in chunks]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _write_videos(root: Path, videos: list[tuple[str, int]], settings: WorldSettings) -> int:
    for class_name, number in videos:
        _write_video(root, class_name, number, settings)
    return len(videos)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent process, and end with it: otherwise a worker outlives a killed parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
