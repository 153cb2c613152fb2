"""The work of one benchmark case in PyTorch, as a server that reads one command per line (README.md).

    python pytorch_step.py --case abn-resnet-cifar-20:128:32:10 --threads 2 --memory-format channels_last

It needs torch and nothing else. Networks and losses are those of fixtures/reference, under the same names, so that
weights travel between the two (fixtures/check_reference.py compares them); this one is written for speed.
"""

import argparse
import copy
import json
import re
import sys
import time
from functools import cached_property
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from pytorch_efficientnet import EfficientNetLite0
from pytorch_modern import ConvNeXt, VisionTransformer

BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3]}  # a stage, by the ResNet's depth
LEARNING_RATE = 0.01  # small: the random labels cannot be learned, and the losses shall stay finite
PROGRESS = 0.5  # k / K of the linear gate; its value costs nothing
CROP_SIZES = (3, 7, 11)
MEMORY_FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


# ---- networks ----


def conv(cin, cout, kernel, stride=1):
    return nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, bias=False)


def downsample(cin, cout, stride):
    if stride == 1 and cin == cout:
        return None
    return nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout))


class Basic(nn.Module):
    expansion = 1

    def __init__(self, cin, width, stride):
        super().__init__()
        self.conv1 = conv(cin, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample(cin, width, stride)

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += shortcut
        return self.relu(y)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, cin, width, stride):
        super().__init__()
        self.conv1 = conv(cin, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample(cin, 4 * width, stride)

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += shortcut
        return self.relu(y)


def stage(block, cin, width, blocks, stride):
    cout = width * block.expansion
    return nn.Sequential(block(cin, width, stride), *[block(cout, width, 1) for _ in range(blocks - 1)])


class Network(nn.Module):
    """A ResNet: `imagenet` has a 7x7 stem with pooling and four stages, CIFAR a 3x3 stem and three; with or without an
    attention branch."""

    def __init__(self, block, blocks, imagenet, attention, classes):
        super().__init__()
        self.imagenet, self.attention, self.last = imagenet, attention, len(blocks)
        width = 64 if imagenet else 16
        self.conv1 = conv(3, width, 7, 2) if imagenet else conv(3, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()
        cin, common = width, []
        for i, count in enumerate(blocks[:-1]):
            self.add_module(f"layer{i + 1}", stage(block, cin, width << i, count, 1 if i == 0 else 2))
            common.append(f"layer{i + 1}")
            cin = (width << i) * block.expansion
        self.common = common
        last_width = width << (self.last - 1)
        cout = last_width * block.expansion
        if attention:
            self.add_module(f"att_layer{self.last}", stage(block, cin, last_width, blocks[-1], 1))
            self.bn_att = nn.BatchNorm2d(cout)
            self.att_conv = conv(cout, classes, 1)
            self.bn_att2 = nn.BatchNorm2d(classes)
            self.att_conv2 = conv(classes, classes, 1)
            self.att_conv3 = conv(classes, 1, 3)
            self.bn_att3 = nn.BatchNorm2d(1)
        self.add_module(f"layer{self.last}", stage(block, cin, last_width, blocks[-1], 2))
        self.fc = nn.Linear(cout, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        """Perception logits, attention-branch logits and map (what inference does not need is None there)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name in self.common:
            x = self.get_submodule(name)(x)
        attention_logits = attention_map = None
        if self.attention:
            a = self.bn_att(self.get_submodule(f"att_layer{self.last}")(x))
            a = self.relu(self.bn_att2(self.att_conv(a)))
            attention_logits = self.att_conv2(a).mean((2, 3)) if self.training else None
            attention_map = torch.sigmoid(self.bn_att3(self.att_conv3(a)))
            # CIFAR networks: x + x * map, in one pass over x.
            x = x * (attention_map if self.imagenet else 1 + attention_map)
        x = self.get_submodule(f"layer{self.last}")(x)
        if not self.attention and self.training:
            # In f32, as the losses; under autocast x may be bf16.
            attention_map = x.float().square().mean(1, keepdim=True)
        return self.fc(x.mean((2, 3))), attention_logits, attention_map


def build(architecture, classes, side):
    """abn-resnet-18, -34, -50, abn-resnet-cifar-D with D = 6n + 2, the same without `abn-`, efficientnet-lite0, convnext-SIZE and
    vit-SIZE-16 for images of the side."""
    if architecture == "efficientnet-lite0":
        return EfficientNetLite0(classes)
    if match := re.fullmatch(r"convnext-(tiny|small|base)", architecture):
        return ConvNeXt(match[1], classes)
    if match := re.fullmatch(r"vit-(tiny|small|base)-16", architecture):
        return VisionTransformer(match[1], classes, side)
    match = re.fullmatch(r"(abn-)?resnet-(cifar-)?(\d+)", architecture)
    attention, cifar, depth = (bool(match[1]), bool(match[2]), int(match[3])) if match else (False, False, 0)
    if cifar and depth >= 8 and depth % 6 == 2:
        return Network(Basic, [(depth - 2) // 6] * 3, False, attention, classes)
    if not cifar and depth in BLOCKS:
        return Network(Bottleneck if depth == 50 else Basic, BLOCKS[depth], True, attention, classes)
    raise ValueError(f"there is no network {architecture!r}")


# ---- losses ----


class Knowledge:
    """One network's outputs on a batch. What several edges use is computed once, and only if an edge uses it."""

    def __init__(self, outputs, labels):
        self.logits, self.attention_logits, self.map = outputs
        self.labels = labels

    @cached_property
    def log_p(self):
        return F.log_softmax(self.logits, 1)

    @cached_property
    def unit_p(self):
        """Probabilities over their L2 norm: inner products of these are cosine similarities."""
        return F.normalize(self.log_p.exp(), dim=1)

    @cached_property
    def right(self):
        return (self.logits.detach().argmax(1) == self.labels).float()

    @cached_property
    def windows(self):
        """For each crop size N x (w * w): the window's pixels around the map's peak, shifted to stay inside."""
        side = self.map.shape[-1]
        peak = self.map.detach().flatten(1).argmax(1)
        rows, columns = peak // side, peak % side
        windows = []
        for size in (min(size, side) for size in CROP_SIZES):
            offsets = torch.arange(size, device=rows.device)
            rs = (rows - size // 2).clamp(0, side - size)[:, None] + offsets
            cs = (columns - size // 2).clamp(0, side - size)[:, None] + offsets
            windows.append((rs[:, :, None] * side + cs[:, None, :]).flatten(1))
        return windows

    def crops(self, windows):
        flat = self.map.flatten(1)
        return [F.normalize(flat.gather(1, window), dim=1) for window in windows]

    @cached_property
    def own_crops(self):
        """The crops around the network's own peak, for its part as a source."""
        return [crop.detach() for crop in self.crops(self.windows)]


def label_loss(target):
    loss = F.nll_loss(target.log_p, target.labels, reduction="none")
    if target.attention_logits is None:
        return loss
    return loss + F.cross_entropy(target.attention_logits, target.labels, reduction="none")


def probability_loss(direction, target, source):
    if direction == "closer":
        return F.kl_div(target.log_p, source.log_p.detach(), reduction="none", log_target=True).sum(1)
    return (target.unit_p * source.unit_p.detach()).sum(1)


def attention_loss(direction, target, source):
    pairs = zip(target.crops(source.windows), source.own_crops)
    if direction == "closer":
        return sum(F.mse_loss(t, s, reduction="none").mean(1) for t, s in pairs) / len(CROP_SIZES)
    return sum((t * s).sum(1) for t, s in pairs) / len(CROP_SIZES)


def edge_loss(edge, knowledge):
    source, target, design, gate = edge
    target = knowledge[target]
    if source == "label":
        loss, right = label_loss(target), None
    else:
        source, (kind, direction), loss = knowledge[source], design.split(), 0
        if kind in ("probability", "both"):
            loss = loss + probability_loss(direction, target, source)
        if kind in ("attention", "both"):
            loss = loss + attention_loss(direction, target, source)
        right = source.right if gate == "correct" else None
    if gate == "linear":
        return PROGRESS * loss.mean()
    # The label as a source is always right.
    return loss.mean() if right is None else (loss * right).mean()


def read_edges(path):
    """(source, target, design, gate) for every edge of the benchmark's graph file."""
    edges = []
    for line in Path(path).read_text().splitlines():
        match = re.match(r'"(\w+) -> (\w+)" = "([^",]+)(?:, (\w+))?"', line)
        if match:
            source, target, what, gate = match.groups()
            edges.append((source, target, "", what) if source == "label" else (source, target, what, gate or "through"))
    return edges


# ---- steps ----


class Ensemble:
    def __init__(self, case, graph, memory_format="nchw", device="cpu", precision="f32", compiled=False):
        architecture, batch, side, classes = case
        torch.manual_seed(1)
        self.memory_format = MEMORY_FORMATS[memory_format]
        self.device, self.half = torch.device(device), precision == "bf16"
        self.edges = read_edges(graph)
        self.networks = {
            node: build(architecture, classes, side).to(self.device, memory_format=self.memory_format)
            for node in sorted({target for _, target, _, _ in self.edges})
        }
        self.optimiser = torch.optim.SGD(
            [p for network in self.networks.values() for p in network.parameters()],
            lr=LEARNING_RATE,
            momentum=0.9,
            weight_decay=1e-4,
        )
        images = torch.rand(batch, 3, side, side).contiguous(memory_format=self.memory_format)
        self.images, self.labels = images.to(self.device), torch.randint(classes, (batch,)).to(self.device)
        self.members = None  # made at the first inference
        if compiled:
            # Forward and losses as one graph.
            self.loss = torch.compile(self.loss)
            self.logits = torch.compile(self.logits)

    def loss(self):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            outputs = {n: network(self.images) for n, network in self.networks.items()}
        single = lambda values: tuple(value if value is None else value.float() for value in values)
        knowledge = {n: Knowledge(single(values), self.labels) for n, values in outputs.items()}
        return sum(edge_loss(edge, knowledge) for edge in self.edges)

    def start(self):
        """One training step, which a GPU is only told to do."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def train(self, count):
        """Milliseconds of so many steps, which wait for the last one's loss only, and that loss."""
        for network in self.networks.values():
            network.train()
        start = time.perf_counter()
        for _ in range(count):
            loss = self.start()
        loss = loss.item()
        return (time.perf_counter() - start) * 1000, loss

    def logits(self, members, images):
        """All networks' logits, and the ensemble's."""
        logits = torch.stack([network(images)[0].float() for network in members])
        return logits, logits.mean(0)

    @torch.inference_mode()
    def infer(self, count):
        """Milliseconds of so many answers, and the ensemble's cross-entropy, which is not part of the time."""
        if self.members is None:
            self.members, self.questions = list(self.networks.values()), self.images
            if self.half:
                # The weights too, which is faster than autocast: nothing is learned from these.
                self.members = [copy.deepcopy(network).bfloat16() for network in self.members]
                self.questions = self.images.bfloat16()
        for network in self.members:
            network.eval()
        start = time.perf_counter()
        for _ in range(count):
            logits = self.logits(self.members, self.questions)[1]
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        ms = (time.perf_counter() - start) * 1000
        return ms, F.cross_entropy(logits, self.labels).item()


def peak_rss_mib():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


def answer(ensemble, command):
    if command == "memory":
        return {"peak_rss_mib": peak_rss_mib()}
    match = re.fullmatch(r"(train|infer)(?: ([1-9]\d*))?", command)
    if match is None:
        return {"error": f"unknown command {command!r}; commands: train N, infer N, memory, quit"}
    count = int(match[2] or 1)
    ms, loss = ensemble.train(count) if match[1] == "train" else ensemble.infer(count)
    return {"ms": ms, "loss": loss, "images": count * len(ensemble.labels)}


def case(text):
    architecture, batch, side, classes = text.split(":")
    return architecture, int(batch), int(side), int(classes)


def say(line):
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, type=case, metavar="ARCHITECTURE:BATCH:SIDE:CLASSES")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-format", choices=list(MEMORY_FORMATS), default="nchw")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32", help="bf16: autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--graph", default=Path(__file__).with_name("graph.toml"))
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    if args.device != "cpu":
        # PyTorch's default is TF32 in convolutions and f32 in matrix products; its guides advise TF32 in both.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.precision != "f32"
        torch.backends.cudnn.benchmark = True
    try:
        ensemble = Ensemble(args.case, args.graph, args.memory_format, args.device, args.precision, args.compile)
    except ValueError as error:
        say({"error": str(error)})
        return
    counts = [sum(p.numel() for p in network.parameters()) for network in ensemble.networks.values()]
    name = torch.cuda.get_device_name(ensemble.device) if ensemble.device.type == "cuda" else "cpu"
    say({"ready": True, "torch": torch.__version__, "parameters": counts, "device": name})
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        say(answer(ensemble, line.strip()))


if __name__ == "__main__":
    main()
