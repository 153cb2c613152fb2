#!/usr/bin/env python3
"""Makes train.png and test.png, the balanced Fashion-MNIST subset that ktg-data embeds.

    apt-get install dataset-fashion-mnist
    python3 -m venv /tmp/v && /tmp/v/bin/pip install numpy pillow zopfli
    /tmp/v/bin/python make.py            # 3 minutes: zopfli searches long for small files

Each file is a contact sheet of 28 x 28 tiles, 100 tiles to a row, read row by row: first all tiles of
class 0, then of class 1, ... so that a tile's label is its number divided by the images per class.
Within a class the tiles are the first ones of the official split, in the official order.
"""

import argparse
import gzip
import hashlib
import io
import pathlib

import numpy as np
import zopfli.png
from PIL import Image

SIDE, CLASSES, TILES_PER_ROW = 28, 10, 100


def read_split(folder: pathlib.Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) and labels (n,) of one official split."""
    with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, SIDE, SIDE)
    with gzip.open(folder / f"{prefix}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    assert len(images) == len(labels)
    return images, labels


def contact_sheet(images: np.ndarray, labels: np.ndarray, per_class: int) -> np.ndarray:
    """The first `per_class` images of every class as one (rows * 28, 2800) picture."""
    assert CLASSES * per_class % TILES_PER_ROW == 0
    chosen = np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in range(CLASSES)])
    assert len(chosen) == CLASSES * per_class
    tiles = images[chosen].reshape(-1, TILES_PER_ROW, SIDE, SIDE)
    return tiles.transpose(0, 2, 1, 3).reshape(-1, TILES_PER_ROW * SIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--train-per-class", type=int, default=500)
    parser.add_argument("--test-per-class", type=int, default=500)
    args = parser.parse_args()

    for name, prefix, per_class in [
        ("train", "train", args.train_per_class),
        ("test", "t10k", args.test_per_class),
    ]:
        sheet = contact_sheet(*read_split(args.source, prefix), per_class)
        plain = io.BytesIO()
        Image.fromarray(sheet).save(plain, "PNG")
        png = zopfli.png.optimize(plain.getvalue(), filter_strategies="01234mep")
        assert np.array_equal(np.array(Image.open(io.BytesIO(png))), sheet)
        (args.out / f"{name}.png").write_bytes(png)
        print(f"{name}.png: {CLASSES * per_class} images, {len(png)} bytes")
        print(f"  SHA-256 of the file:   {hashlib.sha256(png).hexdigest()}")
        tiles = sheet.reshape(-1, SIDE, TILES_PER_ROW, SIDE).transpose(0, 2, 1, 3)
        print(f"  SHA-256 of the tiles:  {hashlib.sha256(tiles.tobytes()).hexdigest()}")


if __name__ == "__main__":
    main()
