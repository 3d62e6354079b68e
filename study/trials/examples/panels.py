"""Pictures of explained pairs in TensorBoard: one tag, one step a picture, in an event file of their own."""

import shutil
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from torch.utils.tensorboard.writer import SummaryWriter

from study.storage.files import remove, storage_of, write_file
from study.storage.location import Location

TAG = "explained_pairs"
SUFFIX = ".pairs"
"""The end of the name of the event file."""


def write_panels(folder: Location, pictures: Sequence[bytes]) -> None:
    """Write pictures to the event folder of a trial, in place of those of an earlier call.

    Args:
        folder: The folder of the trial's events.
        pictures: The contents of PNG files.
    """
    for file in storage_of(folder).list_folder(folder):
        if file.name.endswith(SUFFIX):
            remove(file)
    if not pictures:
        return
    with TemporaryDirectory(prefix="pan-study-") as temporary:
        writer = SummaryWriter(temporary, filename_suffix=SUFFIX)
        for step, picture in enumerate(pictures, start=1):
            writer.add_image(TAG, np.asarray(Image.open(BytesIO(picture)).convert("RGB")), step, dataformats="HWC")
        writer.close()
        for file in Path(temporary).iterdir():
            write_file(folder / file.name, partial(shutil.copyfile, file))
