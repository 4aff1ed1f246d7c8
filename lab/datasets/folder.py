"""A folder of pictures of any classes, read into arrays; read.py uses it.

Its classes and splits come from labels.csv, from train/ and test/ folders, or from a folder a class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import (
    DataClassEmpty,
    DataClassSingle,
    DataColumnMissing,
    DataLabelInvalid,
    DataLayoutUnknown,
    DataRowInvalid,
    DataSplitEmpty,
    DataUnreadable,
)
from edge.sources.headers import is_whole
from edge.sources.pictures import PICTURES
from edge.system.quiet import quiet, tame_opencv
from edge.vision.preprocessing import Preprocessing
from lab.datasets.fer2013 import CLASSES
from lab.datasets.labelled import ROLES, DataSet, Labelled
from lab.datasets.splits import split_groups
from lab.datasets.tables import open_table
from lab.progress import progress

LABELS = "labels.csv"
SPLITS = tuple(folder for _, folder in ROLES.values())
SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "publictest"), "validation"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
_EXPRESSIONS = {name: name for name in CLASSES} | {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}
PURE = 0.9  # share of the pictures that have their folder's commonest label: such folders are classes
_LOOKED_AT = 32  # pictures, by which a folder is of colour or gray


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture that a folder promises."""

    name: str  # its path in the folder, with /
    label: str
    patient: str = ""  # empty: unknown
    split: str = ""  # empty: to be drawn


def read_folder(
    folder: Path, preprocessing: Preprocessing, splits: Sequence[str], seed: int, *, lenient: bool = False
) -> DataSet:
    """Read the named splits of a folder of pictures of any size, gray or colour, 8 or 16 bit, alpha dropped.

    What nothing in the folder splits, `seed` does: 70/15/15, by class, or by patient where labels.csv names
    them. A picture that cannot be read is skipped and listed; `lenient` leaves out a split without a picture
    while there is another, and takes one that lacks a class. Raises DataLayoutUnknown, DataUnreadable,
    DataColumnMissing, DataRowInvalid, DataLabelInvalid, DataSplitEmpty, DataClassSingle, DataClassEmpty.
    """
    folder = _unwrap(folder)
    entries, skipped = list_folder(folder)
    classes, entries = _name_classes(folder, entries)
    entries = _complete(folder, entries, seed)
    tame_opencv()
    read = {}
    present = {entry.split for entry in entries}
    if lenient and present & set(splits):
        splits = [split for split in splits if split in present]
    for split in splits:
        own = [entry for entry in entries if entry.split == split]
        read[split], found = _read_split(folder, split, own, preprocessing, classes)
        skipped += found
        if not lenient:
            _hold_classes(folder, split, own, read[split], classes)
    return DataSet(folder.resolve().name, classes, read, tuple(sorted(skipped)))


def list_folder(folder: Path) -> tuple[list[Entry], list[str]]:
    """List what a folder holds by its layout, sorted by name, with what is skipped ("path: reason")."""
    if (folder / LABELS).is_file():
        return _list_table(folder)
    skipped: list[str] = []
    parts = {path: _SPLITS.get(path.name.lower(), "") for path in _visible(folder) if path.is_dir()}
    if "train" in parts.values() and len(set(parts.values()) - {""}) > 1:
        skipped += [
            f"{path.name}: neither {', '.join(SPLITS[:-1])} nor {SPLITS[-1]}" for path in parts if not parts[path]
        ]
        homes = [(path, split) for path, split in parts.items() if split]
    else:
        homes = [(folder, "")]
    entries = []
    for home, split in homes:
        for group in [path for path in _visible(home) if path.is_dir()]:
            inside = _visible(group)
            own = [path for path in inside if path.suffix.lower() in PICTURES and path.is_file()]
            if not own:
                raise DataClassEmpty(
                    f"{group}: no picture in this class's folder; put some there ({', '.join(PICTURES)})"
                )
            entries += [Entry(path.relative_to(folder).as_posix(), group.name, split=split) for path in own]
            deeper = [path.relative_to(folder).as_posix() for path in inside if path.is_dir()]
            skipped += [f"{name}: a folder in a class's folder" for name in deeper]
    if not entries:
        raise DataLayoutUnknown(
            f"{folder}: neither {LABELS} nor a folder a class in it; sort the pictures into folders"
        )
    return sorted(entries, key=lambda entry: entry.name), skipped


def is_coloured(folder: Path) -> bool:
    """Return whether any of a few pictures of a folder has another colour than gray; raises as `list_folder` does."""
    folder = _unwrap(folder)
    entries, _ = list_folder(folder)
    for entry in entries[:: max(1, len(entries) // _LOOKED_AT)]:
        picture = _read_picture(folder / entry.name)
        if not isinstance(picture, str) and picture.ndim == 3 and np.any(picture != picture[..., :1]):
            return True
    return False


def list_patients(folder: Path) -> dict[str, str]:
    """Return who each picture of a folder is of, by its name; empty where labels.csv does not say."""
    folder = _unwrap(folder)
    if not (folder / LABELS).is_file():
        return {}
    return {entry.name: entry.patient for entry in _list_table(folder)[0] if entry.patient}


def list_column(folder: Path, column: str) -> dict[str, str]:
    """Return what labels.csv says of each picture in a column of any name, in whatever case, by the picture's name.

    Raises DataColumnMissing where there is no labels.csv or no such column in it, and what `open_table` raises.
    """
    table_path = _unwrap(folder) / LABELS
    if not table_path.is_file():
        raise DataColumnMissing(f"{folder}: no {LABELS}, so no column {column!r}; put one there, with path and label")
    rows, columns = _read_rows(table_path)
    if column.lower() not in columns:
        raise DataColumnMissing(f"{table_path}: no column {column!r}; found {', '.join(reversed(columns.values()))}")
    return {_as_name(row["path"]): row[column.lower()] for row in rows}


def _unwrap(folder: Path) -> Path:
    """Return the folder that holds the data: a single folder in nothing but folders is what an archive left around."""
    while folder.is_dir() and not (folder / LABELS).is_file():
        inside = _visible(folder)
        if (
            len(inside) != 1
            or not inside[0].is_dir()
            or any(path.is_file() and path.suffix.lower() in PICTURES for path in _visible(inside[0]))
        ):
            break
        folder = inside[0]
    return folder


def _visible(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise DataUnreadable(f"{folder}: {error.strerror}; give a folder that may be read") from error
    return [path for path in found if not path.name.startswith((".", "__MACOSX"))]  # which a Mac adds to a zip


def _read_rows(table_path: Path) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Read labels.csv: rows by the columns' names in lower case, and what the columns are called there."""
    with open_table(table_path, ()) as table:
        columns = {name.lower(): name for name in reversed(table.fieldnames or ())}
        for name in ("path", "label"):
            if name not in columns:
                found = ", ".join(table.fieldnames or ()) or "none"
                raise DataColumnMissing(f"{table_path}: no column {name!r}; found {found}; it needs path, label")
        rows = [{name: (row[own] or "").strip() for name, own in columns.items()} for row in table]
    return rows, columns


def _as_name(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def _find_homes(rows: list[dict[str, str]]) -> list[str]:
    """Return for each row the folder on its path that is called as a label, "" where none is or such folders mean
    something else.

    They do where most pictures are in another label's folder and the folders' labels are mixed: numbered parts of a
    large set are no classes, though classes are numbers too.
    """
    labels = {row["label"].casefold() for row in rows}
    homes = []
    for row in rows:
        parts = reversed(PurePosixPath(_as_name(row["path"])).parts[:-1])
        homes.append(next((part for part in parts if part.casefold() in labels), ""))
    pairs = Counter((home.casefold(), row["label"].casefold()) for home, row in zip(homes, rows, strict=True) if home)
    own = sum(count for (home, label), count in pairs.items() if home == label)
    commonest: dict[str, int] = {}
    for (home, _), count in pairs.items():
        commonest[home] = max(commonest.get(home, 0), count)
    classes = own >= pairs.total() / 2 or sum(commonest.values()) >= PURE * pairs.total()
    return homes if classes else [""] * len(rows)


def _list_table(folder: Path) -> tuple[list[Entry], list[str]]:
    table_path = folder / LABELS
    rows, columns = _read_rows(table_path)
    patient_column = next((name for name in ("patient", "subject") if name in columns), None)
    split_column = next((name for name in ("split", "usage") if name in columns), None)
    inside = folder.resolve()
    entries: dict[str, Entry] = {}
    skipped: list[str] = []
    absent: list[str] = []
    for number, (row, home) in enumerate(zip(rows, _find_homes(rows), strict=True), 1):
        where = f"{table_path}: row {number} (line {number + 1})"
        name, label = _as_name(row["path"]), row["label"]
        if not label:
            raise DataLabelInvalid(f"{where}: {name} has no label; give every picture one, or take the row out")
        if ".." in name.split("/") or not (folder / name).resolve().is_relative_to(inside):
            raise DataUnreadable(f"{where}: {name} lies outside of the folder; move it in and give its path from there")
        if home and home.casefold() != label.casefold():
            raise DataLabelInvalid(
                f"{where}: {name} lies in the folder of {home!r}, its label is {label!r}; correct one of them, or "
                "rename the folders where they are no classes"
            )
        patient = row[patient_column] if patient_column else ""
        if patient_column and not patient:
            raise DataRowInvalid(f"{where}: no {patient_column}; name one in every row, or leave the column out")
        split = _SPLITS.get(row[split_column].lower(), "") if split_column else ""
        if split_column and not split:
            raise DataRowInvalid(f"{where}: {split_column} {row[split_column]!r}; valid are {', '.join(SPLITS)}")
        entry = Entry(name, label, patient, split)
        if name in entries and entries[name] != entry:
            raise DataLabelInvalid(
                f"{where}: {name} is in a row above too, with another label, patient or split; take one out"
            )
        if name in entries:
            skipped.append(f"{name}: a second time in {LABELS}")
        elif not (folder / name).is_file():
            absent.append(name)
        else:
            entries[name] = entry
    if len(absent) > len(rows) / 2:
        raise DataUnreadable(
            f"{table_path}: {len(absent)} of its {len(rows)} files are not there, {absent[0]} first; "
            f"paths go from {folder}"
        )
    if not entries:
        raise DataSplitEmpty(f"{table_path}: no row; give each picture one, with its path and label")
    skipped += [f"{name}: no such file" for name in absent]
    return [entries[name] for name in sorted(entries)], skipped


def _name_classes(folder: Path, entries: list[Entry]) -> tuple[tuple[str, ...], list[Entry]]:
    """Sort the classes; FER2013's seven, under whichever of their names, come under its own and in its order."""
    names = sorted({entry.label for entry in entries})
    for name in names:
        if not name.isprintable():
            raise DataLabelInvalid(f"{folder}: class {name!r} is no name that can be shown; rename it")
    if len(names) < 2:
        raise DataClassSingle(
            f"{folder}: one class, {names[0]!r}; two are the least: give the folder that holds the classes' folders"
        )
    own = {name: _EXPRESSIONS.get(name.casefold(), "") for name in names}
    if len(names) == len(CLASSES) and set(own.values()) == set(CLASSES):
        return CLASSES, [replace(entry, label=own[entry.label]) for entry in entries]
    return tuple(names), entries


def _complete(folder: Path, entries: list[Entry], seed: int) -> list[Entry]:
    """Draw the splits that the folder leaves open: all of them, or validation out of train."""
    given = {entry.split for entry in entries}
    shares = SHARES if given == {""} else {"train": 0.85, "validation": 0.15} if given == {"train", "test"} else {}
    if shares:
        left = [entry for entry in entries if entry.split != "test"]
        draw = _draw_patients if left[0].patient else _draw_pictures
        what = "patients" if left[0].patient else "pictures"
        counts = Counter(label for label, _ in {(entry.label, entry.patient or entry.name) for entry in left})
        for label, count in sorted(counts.items()):
            if count < len(shares):
                raise DataClassEmpty(
                    f"{folder}: class {label!r} has {count} {what}; {', '.join(shares)} need {len(shares)} or more"
                )
        entries = draw(left, shares, seed) + [entry for entry in entries if entry.split == "test"]
    homes: dict[str, str] = {}
    for entry in entries:
        if entry.patient and homes.setdefault(entry.patient, entry.split) != entry.split:
            raise DataRowInvalid(
                f"{folder / LABELS}: patient {entry.patient!r} is in {homes[entry.patient]} and in {entry.split}; "
                "put everyone into one split"
            )
    return sorted(entries, key=lambda entry: entry.name)


def _draw_pictures(entries: list[Entry], shares: dict[str, float], seed: int) -> list[Entry]:
    drawn = []
    for number, label in enumerate(sorted({entry.label for entry in entries})):
        own = [entry for entry in entries if entry.label == label]
        order = np.random.default_rng((seed, number)).permutation(len(own))
        for split, share in reversed(shares.items()):  # train comes last and takes the rest
            count = len(order) if split == "train" else max(1, round(share * len(own)))
            drawn += [replace(own[row], split=split) for row in order[:count]]
            order = order[count:]
    return drawn


def _draw_patients(entries: list[Entry], shares: dict[str, float], seed: int) -> list[Entry]:
    patients, rows = np.unique([entry.patient for entry in entries], return_inverse=True)
    labels, columns = np.unique([entry.label for entry in entries], return_inverse=True)
    counts = np.zeros((len(patients), len(labels)), np.int64)
    np.add.at(counts, (rows, columns), 1)
    homes = split_groups(counts, list(shares.values()), seed)
    return [replace(entry, split=list(shares)[homes[row]]) for entry, row in zip(entries, rows, strict=True)]


def _read_split(
    folder: Path, split: str, entries: list[Entry], preprocessing: Preprocessing, classes: tuple[str, ...]
) -> tuple[Labelled, list[str]]:
    """Read the pictures of a split; returns beside them what was skipped ("path: reason")."""
    if not entries:
        raise DataSplitEmpty(f"{folder}: no picture in {split}; put some there, or ask for another split")
    shape = (preprocessing.side, preprocessing.side, preprocessing.channels)
    images = np.empty((len(entries), *shape[: 2 if preprocessing.channels == 1 else 3]), np.uint8)
    kept: list[Entry] = []
    skipped = []
    for entry in progress(entries, f"read {split}"):
        picture = _read_picture(folder / entry.name)
        if isinstance(picture, str):
            skipped.append(f"{entry.name}: {picture}")
        else:
            images[len(kept)] = preprocessing.apply(picture)
            kept.append(entry)
    if not kept:
        raise DataSplitEmpty(f"{folder}: none of the {len(entries)} pictures in {split} can be read: {skipped[0]}")
    labels = np.array([classes.index(entry.label) for entry in kept], np.int64)
    return Labelled(images[: len(kept)], labels, tuple(entry.name for entry in kept)), skipped


def _hold_classes(folder: Path, split: str, entries: list[Entry], read: Labelled, classes: tuple[str, ...]) -> None:
    """Raise DataClassEmpty for the first class of which a split holds nothing that could be read."""
    promised = Counter(entry.label for entry in entries)
    for label, name in enumerate(classes):
        if not np.any(read.labels == label):
            reason = f"none of its {promised[name]} pictures can be read" if promised[name] else "no picture"
            raise DataClassEmpty(
                f"{folder}: class {name!r} in {split}: {reason}; every class needs some in every split"
            )


def _read_picture(path: Path) -> npt.NDArray[np.uint8] | str:
    """Read one picture, uint8 (h, w) gray or (h, w, 3) RGB; what is wrong with it where it cannot be."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return error.strerror or str(error)
    if not content:
        return "empty, 0 bytes"
    if not is_whole(content):
        return "cut short"
    try:
        with quiet():
            # Upright by its EXIF, 8 bit, without alpha.
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR)
    except cv2.error:
        picture = None
    if picture is None:
        return "damaged, or no picture"
    return np.asarray(picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
