"""The files of a directory of checkpoints: which step is whole, and which file says that it is not."""

import json
import operator
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

SEAL = "gradx_files.json"
"""Written last: the sizes and check sums of all files of a checkpoint."""
UNFINISHED = ".orbax-checkpoint-tmp"
"""What Orbax calls a checkpoint that it has not finished."""
REPLACED = ".replaced"
"""A whole one of the same step, until the one that replaces it is whole too."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be trusted; the message begins with the file."""


class UnfinishedError(CheckpointError, FileNotFoundError):
    """A checkpoint whose writing was interrupted: as good as none."""


def number(owner: str, name: str, x: Any, least: int = 0) -> int:
    """Return a whole number, of NumPy or JAX too, as Python's; no other would be found again by its name."""
    try:
        found = -1 if isinstance(x, bool) else operator.index(x)
    except TypeError:
        found = -1
    if found < least:
        raise ValueError(f"{owner}: {name} must be an integer of at least {least}, got {x!r}")
    return found


def root_of(directory: str | Path) -> Path:
    """Return the directory as an absolute path; other stores are for Orbax's own managers."""
    if "://" in str(directory):
        cure = "give gradx.checkpoint.state_dict(...) to an orbax.checkpoint.CheckpointManager"
        raise ValueError(f"{directory}: only directories on a disk; {cure}")
    return Path(directory).expanduser().resolve()


def steps(root: Path, *, sealed: bool = True) -> list[int]:
    """Return the steps that are there, in order; without `sealed`, those too whose writing was interrupted."""
    names = [x.name.removesuffix(REPLACED) for x in root.iterdir() if x.is_dir()] if root.is_dir() else []
    found = {int(name) for name in names if name.isdecimal()}
    return sorted(step for step in found if not sealed or (place_of(root, step) / SEAL).exists())


def place_of(root: Path, step: int) -> Path:
    """Return the directory of a step: that of the one before, while what replaces it is not finished."""
    place, before = root / str(step), root / f"{step}{REPLACED}"
    return before if before.is_dir() and not (place / SEAL).exists() else place


def seal(directory: Path) -> None:
    """Note sizes and check sums of all files, in one last file that appears as a whole."""
    sums = {str(path.relative_to(directory)): [path.stat().st_size, _sum(path)] for path in _files(directory)}
    draft = directory / f"{SEAL}.part"
    with draft.open("w") as file:
        json.dump(sums, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(directory / SEAL)


def verify(directory: Path) -> None:
    """Raise CheckpointError, with the file's name, unless every file is there as it was written."""
    try:
        sums = json.loads((directory / SEAL).read_text())
        expected = {directory / name: (int(size), int(total)) for name, (size, total) in sums.items()}
    except FileNotFoundError:
        raise UnfinishedError(f"{directory / SEAL}: missing, the checkpoint was not finished") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{directory / SEAL}: damaged: {error}") from None
    for path, (size, total) in expected.items():
        if not path.is_file():
            raise CheckpointError(f"{path}: missing")
        if path.stat().st_size != size:
            raise CheckpointError(f"{path}: {path.stat().st_size} bytes, {size} were written")
        if _sum(path) != total:
            raise CheckpointError(f"{path}: its bytes are not those that were written")


def check_place(root: Path, step: int, item: str) -> None:
    """Raise ValueError where a step cannot be written: among checkpoints of others, or before a later one.

    Ours have the item, or a seal. A later one that is damaged is in nobody's way.
    """
    found = steps(root, sealed=False)
    unsealed = [path for path in (place_of(root, x) for x in found) if not (path / SEAL).exists()]
    if foreign := [path for path in unsealed if not (path / item).exists()]:
        raise ValueError(f"{foreign[0]}: no checkpoint of gradx.checkpoint.save; give it a directory of its own")
    if later := [x for x in found if x > step and _is_whole(place_of(root, x))]:
        fault = f"save: step {step} comes before step {later[0]}, which is there and which restore would take"
        raise ValueError(f"{fault}: another directory, or remove {root / str(later[0])}")


def clear(root: Path, step: int) -> None:
    """Make the directory, and take away what interrupted writers left in it, and later steps that are damaged.

    What is to be replaced steps aside: a crash on the way must not take it along.
    """
    root.mkdir(parents=True, exist_ok=True)
    for before in [path for path in root.iterdir() if path.name.endswith(REPLACED)]:
        place = root / before.name.removesuffix(REPLACED)
        if (place / SEAL).exists():
            remove(before)
        else:
            shutil.rmtree(place, ignore_errors=True)
            before.rename(place)
    numbered = [root / str(x) for x in steps(root, sealed=False)]
    useless = [path for path in numbered if int(path.name) > step or not (path / SEAL).exists()]
    drafts = [path for path in root.iterdir() if UNFINISHED in path.name and path.name.partition(".")[0].isdigit()]
    for path in (*useless, *drafts):
        remove(path)
    if (root / str(step)).is_dir():
        (root / str(step)).rename(root / f"{step}{REPLACED}")


def remove(directory: Path) -> None:
    """Take a checkpoint away, its name first: a half of it would look like a stranger's."""
    if UNFINISHED not in directory.name:
        draft = directory.with_name(f"{directory.name}{UNFINISHED}-removed")
        shutil.rmtree(draft, ignore_errors=True)
        directory = directory.rename(draft)
    shutil.rmtree(directory)


def _is_whole(directory: Path) -> bool:
    try:
        verify(directory)
    except CheckpointError:
        return False
    return True


def _files(directory: Path) -> list[Path]:
    own = {SEAL, f"{SEAL}.part"}
    return sorted(x for x in directory.rglob("*") if x.is_file() and x.name not in own)


def _sum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total = zlib.crc32(block, total)
    return total
