"""Loads images with torchvision on one thread, as a server for bench/data (README.md).

    python torchvision_data.py serve LIST train|eval files|memory|tensors
    python torchvision_data.py synthetic FOLDER COUNT

LIST has the path of an image on each line. `files` are decoded by Pillow every time, `memory` are Pillow images of
short side 256 that were decoded beforehand, `tensors` are files that torchvision's own decoder turns into tensors.
`synthetic` writes a data set of noise-like photos.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image, features
from torchvision.datasets.folder import pil_loader
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import ToTensor, v2

SIDE = 224
SHORT_SIDE = 256
# On Pillow images as fast as the first version of the transforms, on tensors much faster.
TRANSFORMS = {
    "train": [v2.RandomResizedCrop(SIDE, scale=(0.08, 1), ratio=(1, 1.3)), v2.RandomHorizontalFlip()],
    "eval": [v2.Resize(SHORT_SIDE), v2.CenterCrop(SIDE)],
}


def say(line):
    print(json.dumps(line), flush=True)


def one_pass(sources, load, transform):
    """One pass over all images. Only loading is timed."""
    spent, values, squares = 0, torch.zeros(3, dtype=torch.float64), 0
    for source in sources:
        start = time.perf_counter()
        image = transform(load(source))
        spent += time.perf_counter() - start
        values += image.mean((1, 2))
        squares += image.square().mean().item()
    count = len(sources)
    means = (values / count).tolist()
    return {
        "seconds": spent, "images": count, "shape": list(image.shape), "means": means, "mean_square": squares / count
    }


def serve(args):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sources, load = Path(args.list).read_text().splitlines(), pil_loader
    to_values = ToTensor()
    if args.images == "memory":
        shrink = v2.Resize(SHORT_SIDE)
        sources, load = [shrink(pil_loader(path)) for path in sources], lambda image: image
    elif args.images == "tensors":
        load, to_values = lambda path: decode_image(path, ImageReadMode.RGB), v2.ToDtype(torch.float32, scale=True)
    transform = v2.Compose([*TRANSFORMS[args.transform], to_values])
    turbo = features.version("libjpeg_turbo") if features.check("libjpeg_turbo") else None
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "Pillow": PIL.__version__}
    say({"ready": True, "images": len(sources), "versions": {**versions, "libjpeg-turbo": turbo}})
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        if line.strip() != "go":
            say({"error": f"unknown command {line.strip()!r}; commands: go, quit"})
        else:
            say(one_pass(sources, load, transform))


def photo(rng, width, height):
    """Smooth noise at several scales, the coarser the stronger, and some grain."""
    image = Image.new("RGB", (width, height), (128, 128, 128))
    for scale, strength in ((100, 0.8), (25, 0.4), (8, 0.25), (2, 0.12)):
        size = width // scale, height // scale
        noise = Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1]))
        image = Image.blend(image, noise.resize((width, height), Image.Resampling.BICUBIC), strength)
    return image


def synthetic(args):
    root, rng = Path(args.folder), random.Random(0)
    names = [f"{i}.jpg" for i in range(args.count)]
    for name in names:
        photo(rng, 400, 300).save(root / name, quality=85)
    (root / "train.txt").write_text("".join(f"{name}, {i % 8}\n" for i, name in enumerate(names)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("serve")
    command.add_argument("list")
    command.add_argument("transform", choices=list(TRANSFORMS))
    command.add_argument("images", choices=["files", "memory", "tensors"])
    command.set_defaults(run=serve)
    command = commands.add_parser("synthetic")
    command.add_argument("folder")
    command.add_argument("count", type=int)
    command.set_defaults(run=synthetic)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
