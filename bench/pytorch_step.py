"""The work of one benchmark case in PyTorch, as a server that reads one command per line (README.md).

    python pytorch_step.py --case abn-resnet-cifar-20-train --threads 2 --memory-format channels_last

It needs torch and nothing else. The networks and losses are those of shared/SPEC.md, sections 3 to 5; the state has
the names of fixtures/reference, so that weights travel between the two.
"""

import argparse
import json
import re
import sys
import time
from functools import cached_property
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

# Per network: ImageNet style or not, blocks per stage, then the benchmark's batch, image side and classes.
NETWORKS = {
    "abn-resnet-18": (True, [2, 2, 2, 2], 16, 224, 120),
    "abn-resnet-cifar-20": (False, [3, 3, 3], 128, 32, 10),
}
LEARNING_RATE = 0.01  # small: the random labels cannot be learned, and the losses shall stay finite
PROGRESS = 0.5  # k / K of the linear gate; its value costs nothing
CROP_SIZES = (3, 7, 11)
MEMORY_FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


# ---- networks ----


def conv(cin, cout, kernel, stride=1):
    return nn.Conv2d(cin, cout, kernel, stride, padding=kernel // 2, bias=False)


class Block(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = conv(cin, cout, 3, stride)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = conv(cout, cout, 3)
        self.bn2 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += shortcut
        return self.relu(y)


def stage(cin, cout, blocks, stride):
    return nn.Sequential(Block(cin, cout, stride), *[Block(cout, cout, 1) for _ in range(blocks - 1)])


class AttentionBranchNetwork(nn.Module):
    """ABN on a ResNet: `imagenet` has a 7x7 stem with pooling and four stages, CIFAR a 3x3 stem and three."""

    def __init__(self, imagenet, blocks, classes):
        super().__init__()
        self.imagenet, self.last = imagenet, len(blocks)
        width = 64 if imagenet else 16
        self.conv1 = conv(3, width, 7, 2) if imagenet else conv(3, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()
        cin, common = width, []
        for i, count in enumerate(blocks[:-1]):
            cout = width << i
            self.add_module(f"layer{i + 1}", stage(cin, cout, count, 1 if i == 0 else 2))
            common.append(f"layer{i + 1}")
            cin = cout
        self.common = common
        cout = width << (self.last - 1)
        self.add_module(f"att_layer{self.last}", stage(cin, cout, blocks[-1], 1))
        self.bn_att = nn.BatchNorm2d(cout)
        self.att_conv = conv(cout, classes, 1)
        self.bn_att2 = nn.BatchNorm2d(classes)
        self.att_conv2 = conv(classes, classes, 1)
        self.att_conv3 = conv(classes, 1, 3)
        self.bn_att3 = nn.BatchNorm2d(1)
        self.add_module(f"layer{self.last}", stage(cin, cout, blocks[-1], 2))
        self.fc = nn.Linear(cout, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        """Perception logits, attention-branch logits (None in inference, where nobody asks for them) and map."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name in self.common:
            x = self.get_submodule(name)(x)
        a = self.bn_att(self.get_submodule(f"att_layer{self.last}")(x))
        a = self.relu(self.bn_att2(self.att_conv(a)))
        attention_logits = self.att_conv2(a).mean((2, 3)) if self.training else None
        attention_map = torch.sigmoid(self.bn_att3(self.att_conv3(a)))
        # CIFAR networks: x + x * map, in one pass over x.
        x = x * (attention_map if self.imagenet else 1 + attention_map)
        x = self.get_submodule(f"layer{self.last}")(x)
        return self.fc(x.mean((2, 3))), attention_logits, attention_map


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
    return F.nll_loss(target.log_p, target.labels, reduction="none") + F.cross_entropy(
        target.attention_logits, target.labels, reduction="none"
    )


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
    def __init__(self, network, graph, memory_format, device="cpu", precision="f32", compiled=False, batch=None):
        imagenet, blocks, usual_batch, side, classes = NETWORKS[network]
        batch = batch or usual_batch
        torch.manual_seed(1)
        self.memory_format = MEMORY_FORMATS[memory_format]
        self.device, self.half = torch.device(device), precision == "bf16"
        self.edges = read_edges(graph)
        self.networks = {
            node: AttentionBranchNetwork(imagenet, blocks, classes).to(self.device, memory_format=self.memory_format)
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
        if compiled:
            # Forward and losses as one graph.
            self.loss = torch.compile(self.loss)

    def mode(self, training):
        for network in self.networks.values():
            network.train(training)

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

    def train(self):
        return self.start().item()

    def steps(self, count):
        """Waits for the last of so many steps only."""
        for _ in range(count):
            loss = self.start()
        return loss.item()

    @torch.inference_mode()
    def infer(self):
        """All networks' logits and the ensemble's."""
        logits = torch.stack([network(self.images)[0] for network in self.networks.values()])
        return logits, logits.mean(0)


def peak_rss_mib():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


def answer(ensemble, command):
    if command == "memory":
        return {"peak_rss_mib": peak_rss_mib()}
    if match := re.fullmatch(r"steps ([1-9]\d*)", command):
        ensemble.mode(True)
        start = time.perf_counter()
        loss = ensemble.steps(int(match[1]))
        return {"ms": (time.perf_counter() - start) * 1000, "loss": loss, "images": int(match[1]) * len(ensemble.labels)}
    if command not in ("train", "infer"):
        return {"error": f"unknown command {command!r}; commands: train, infer, steps N, memory, quit"}
    ensemble.mode(command == "train")
    start = time.perf_counter()
    result = ensemble.train() if command == "train" else ensemble.infer()
    ms = (time.perf_counter() - start) * 1000
    # In inference the ensemble's cross-entropy stands for the result; it is not part of the time.
    loss = result if command == "train" else F.cross_entropy(result[1], ensemble.labels).item()
    return {"ms": ms, "loss": loss}


def say(line):
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [f"{network}-{mode}" for network in NETWORKS for mode in ("train", "infer")]
    parser.add_argument("--case", required=True, choices=names)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-format", choices=list(MEMORY_FORMATS), default="nchw")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16: autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--batch", type=int, help="images a step, instead of the case's own number")
    parser.add_argument("--graph", default=Path(__file__).with_name("graph.toml"))
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    if args.device != "cpu":
        # What PyTorch's own guides advise for speed: TF32 in matrix products too (in convolutions it is the default).
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    network = args.case.rpartition("-")[0]
    ensemble = Ensemble(
        network, args.graph, args.memory_format, args.device, args.precision, args.compile, args.batch
    )
    counts = [sum(p.numel() for p in network.parameters()) for network in ensemble.networks.values()]
    name = torch.cuda.get_device_name(ensemble.device) if ensemble.device.type == "cuda" else "cpu"
    say({"ready": True, "torch": torch.__version__, "parameters": counts, "device": name})
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        say(answer(ensemble, line.strip()))


if __name__ == "__main__":
    main()
