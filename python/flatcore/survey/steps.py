"""The steps of a survey, from files to a drafted profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flatcore.assembly import open_frame
from flatcore.errors import InputError, UsageError
from flatcore.fitsio import Header, read_header
from flatcore.images import Image
from flatcore.instrument import profile_from_text
from flatcore.survey import keywords
from flatcore.survey.answers import Answers, Survey
from flatcore.survey.draft import Draft, toml_text
from flatcore.survey.electronics import find_electronics, find_saturation, find_units
from flatcore.survey.evidence import Evidence, Notes, image_in_use, image_named
from flatcore.survey.files import Frames, RawImage, images_of, sort_frames
from flatcore.survey.measured import Layout, PixelReader, measure
from flatcore.survey.orientation import find_dispersion, measure_strips
from flatcore.survey.sections import find_amplifiers

# Below this ratio of changes across and along the orders their axis is a guess.
CLEAR_RATIO = 1.5
USUAL_BOX, LEAST_BOX = 128, 16
# Half-width of an extraction window: this many full widths at half the top of the light, and a pixel.
WINDOW_WIDTHS = 0.75


def take_steps(
    files: Sequence[Path], darks: Sequence[Path], biases: Sequence[Path], given: Answers, scratch: Path
) -> Survey:
    """Survey files; parameters as of :func:`flatcore.survey.survey`."""
    notes = Notes()
    images = _agreeing_images([*files, *darks, *biases], scratch)
    exposures = {path: _exposure(path) for path in (*files, *darks)}
    layout = _layout(images, given, notes)
    # Light is told from none in any units.
    frames = sort_frames(files, darks, biases, exposures, PixelReader(layout, "adu", exposures, scratch).read)
    first = frames.flats[0]
    notes.found("frames", _counted(frames), "light and exposure times")
    units = given.units or find_units(image_in_use(images, layout), first, scratch, notes)
    measured = measure(PixelReader(layout, units, exposures, scratch), layout, frames, units, given.bias_adu)
    header = read_header(first)
    evidence = Evidence(frames, header, images, layout, measured, scratch)
    answers, gains = find_electronics(replace(given, units=units, bias_adu=measured.bias_adu), evidence, notes)
    answers = find_saturation(answers, evidence, notes)
    answers, turned = _orientation(answers, measured.flat, notes)
    answers, box = _windows(answers, turned, notes)
    table, answers, recognised = _keywords(answers, header, frames, notes)
    rows, columns = layout.shape if answers.dispersion == "rows" else layout.shape[::-1]
    detector: dict[str, Any] = {"shape": (rows, columns), "dispersion": answers.dispersion, "units": units}
    detector |= {} if layout.hdu is None else {"hdu": layout.hdu}
    detector |= {"bias": answers.bias_adu} if answers.bias_adu else {}
    detector |= {"flip": answers.flip, "rows": (0, rows), "columns": (0, columns), "gain": answers.gain}
    saturation = keywords.number(header, keywords.SATURATIONS)
    by_keyword = saturation is not None and given.saturation_adu is None
    detector["saturation"] = saturation[0] if by_keyword and saturation else answers.saturation_adu
    detector["frame_time"] = "FRMTIME" if keywords.number(header, ["FRMTIME"]) else "EXPTIME"
    half = float(answers.window or 1.0)
    draft = Draft(
        name=str(answers.name),
        header=recognised,
        keywords=table,
        detector=detector,
        amplifiers=tuple(zip(layout.amplifiers, gains, strict=True)) if layout.amplifiers else (),
        fibers=dict.fromkeys(answers.fibers, (half, half)),
        box=box,
        origins=notes.origins,
    )
    text = toml_text(draft)
    _prove(text, first, scratch)
    return Survey(answers, tuple(notes.findings), tuple(notes.doubts), frames, text)


def _exposure(path: Path) -> float:
    found = keywords.find_exposure(read_header(path))
    if found is None:
        raise InputError(f"{path}: no exposure time, looked for {', '.join(keywords.EXPOSURES)}")
    return float(found.value)


def _counted(frames: Frames) -> str:
    kinds = (("flats", frames.flats), ("darks", frames.darks), ("biases", frames.biases))
    return ", ".join(f"{len(paths)} {name}" for name, paths in kinds if paths)


def _agreeing_images(paths: Sequence[Path], scratch: Path) -> tuple[RawImage, ...]:
    """List the images of the first file; every other must have the same."""
    first = paths[0]
    images = images_of(first, scratch)
    told = [(image.hdu, image.shape) for image in images]
    for path in paths[1:]:
        other = [(image.hdu, image.shape) for image in images_of(path, scratch)]
        if other != told:
            raise InputError(f"{path}: images (HDU, shape) {other}, but {first.name} has {told}")
    return images


def _layout(images: Sequence[RawImage], given: Answers, notes: Notes) -> Layout:
    chosen = images[0] if given.hdu is None else image_named(images, given.hdu)
    found = None if given.hdu is not None else find_amplifiers(images)
    if found is not None:
        amplifiers, shape = found
        for i, one in enumerate(amplifiers):
            notes.found(f"amplifier {i}", f"HDU {one.hdu}, {_spans(one.data)}", one.origin, f"amplifiers.{i}.data")
        return Layout(amplifiers, None, shape, "sections of the headers")
    if len(images) > 1 and given.hdu is None:
        others = ", ".join(str(image.name or image.hdu) for image in images[1:])
        notes.doubts.append(
            f"images in several HDUs, and no DETSEC that says how they lie: HDU {chosen.name or chosen.hdu} alone is "
            f"used, not {others}; --hdu takes another, [[detector.amplifiers]] in the profile put them together"
        )
    hdu = None if chosen is images[0] else chosen.name or chosen.hdu
    notes.found("image", f"HDU {chosen.hdu} {chosen.name}".strip(), "its axes")
    return Layout((), hdu, chosen.shape, "its axes")


def _spans(region: Any) -> str:
    (top, bottom), (left, right) = region
    return f"rows {top}-{bottom}, columns {left}-{right}"


def _orientation(answers: Answers, flat: Image, notes: Notes) -> tuple[Answers, Image]:
    dispersion, ratio = find_dispersion(flat)
    if answers.dispersion is not None:
        dispersion, origin = answers.dispersion, "given"
    else:
        origin = f"light changes {ratio:.3g} times as much across"
        if ratio < CLEAR_RATIO:
            notes.doubts.append(f"orders along {dispersion} is a guess: {origin}; --dispersion tells it")
    notes.found("dispersion", f"along {dispersion}", origin, "detector.dispersion")
    return replace(answers, dispersion=dispersion), flat if dispersion == "rows" else flat.T


def _windows(answers: Answers, image: Image, notes: Notes) -> tuple[Answers, int]:
    """Guess extraction windows and the background's box from the light across the orders."""
    strips = measure_strips(image)
    rows = min(image.shape)
    box = max(LEAST_BOX, min(USUAL_BOX, rows // 4))
    if math.isfinite(strips.spacing):
        box = max(box, min(round(1.5 * strips.spacing), rows // 3))
    if strips.count:
        told = f"{strips.count}, {strips.width:.1f} pixels wide, {strips.spacing:.1f} apart"
        notes.found("strips of light", told, "cut through the middle of a flat", "background.box")
    if answers.window is not None:
        notes.found("window", f"+-{answers.window:g} pixels", "given", "fibers.below")
        return answers, box
    if not strips.count:
        notes.doubts.append("no strips of light were found at the middle column: the windows are a guess")
        return replace(answers, window=8.0), box
    half = round(WINDOW_WIDTHS * strips.width + 1)
    if math.isfinite(strips.spacing):
        half = max(1, min(half, int((strips.spacing - 1) / 2)))
    notes.found("window", f"+-{half} pixels", "width of the strips; a first guess", "fibers.below")
    return replace(answers, window=float(half)), box


def _keywords(
    answers: Answers, header: Header, frames: Frames, notes: Notes
) -> tuple[dict[str, Any], Answers, dict[str, str]]:
    """Give the ``[keywords]`` and ``[header]`` tables, and the instrument's name."""
    table: dict[str, Any] = {}
    recognised: dict[str, str] = {}

    def settle(keyword: str, found: keywords.Found) -> None:
        notes.found(keyword, str(found.value), found.origin, f"keywords.{keyword}")
        if found.source is not None:
            table[keyword] = found.source

    own = keywords.words(header, keywords.NAMES)
    name = answers.name or (own[1] if own else None)
    if name is None:
        raise UsageError(f"the instrument's name is in none of {', '.join(keywords.NAMES)}: give --name")
    if own is None:
        settle("INSTRUME", keywords.Found({"value": name}, name, "given; no header keyword has it"))
    else:
        settle("INSTRUME", keywords.Found(None if own[0] == "INSTRUME" else own[0], own[1], own[0]))
        recognised["INSTRUME"] = own[1]
    exposure = keywords.find_exposure(header)
    if exposure is not None:
        settle("EXPTIME", exposure)
    times = keywords.find_times(header)
    for keyword, found in times.items():
        settle(keyword, found)
    if "MJDMID" not in times:
        notes.doubts.append("no time of the exposure was found: MJDMID is needed in [keywords]")
    if keywords.number(header, ["RDNOISE"]) is None and answers.readnoise_e is not None:
        table["RDNOISE"] = float(f"{answers.readnoise_e:.3g}")
    headers = [[read_header(path) for path in paths] for paths in (frames.flats, frames.darks, frames.biases)]
    flats, darks, biases = headers
    kind = keywords.find_kind(flats, darks, biases, answers.dprtype)
    if kind is None:
        notes.doubts.append(
            "no keyword tells flats from other frames: every FITS file of a night is taken for a flat; name the files"
        )
        kind = keywords.Found({"value": answers.dprtype}, answers.dprtype, "no keyword tells")
    settle("DPRTYPE", kind)
    return table, replace(answers, name=name), recognised


def _prove(text: str, first: Path, scratch: Path) -> None:
    """Open a flat by the profile as drafted."""
    profile = profile_from_text(text, "drafted profile")
    frame = open_frame(first, profile, scratch)
    if frame.location.shape != profile.detector.shape:
        raise InputError(f"{first}: opened as {frame.location.shape}, but the profile says {profile.detector.shape}")
