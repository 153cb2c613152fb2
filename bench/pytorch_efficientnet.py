"""EfficientNet-Lite0 in PyTorch, as users have it: the layers of the PyPI package `efficientnet-lite-pytorch`, padding as there. Written for
speed, under names of its own."""

import torch
from torch import nn
from torch.nn import functional as F

# Blocks, side of the window, stride, factor of the channels within a block, channels.
STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]


class Same(nn.Conv2d):
    """TensorFlow's padding for sides that the stride divides: at stride 2, one zero more behind than before."""

    def __init__(self, cin, cout, kernel, stride, groups=1):
        whole = kernel - stride
        super().__init__(cin, cout, kernel, stride, 0 if whole % 2 else whole // 2, groups=groups, bias=False)
        before = whole // 2
        self.zeros = (before, whole - before, before, whole - before) if whole % 2 else None

    def forward(self, x):
        return super().forward(x if self.zeros is None else F.pad(x, self.zeros))


def layers(cin, cout, kernel, stride=1, groups=1, relu=True):
    convolution = Same(cin, cout, kernel, stride, groups) if kernel > 1 else nn.Conv2d(cin, cout, 1, bias=False)
    norm = nn.BatchNorm2d(cout, eps=1e-3, momentum=0.01)
    return [convolution, norm, nn.ReLU6(inplace=True)] if relu else [convolution, norm]


class Block(nn.Module):
    def __init__(self, cin, cout, kernel, stride, factor):
        super().__init__()
        inner = cin * factor
        expand = layers(cin, inner, 1) if factor > 1 else []
        self.layers = nn.Sequential(*expand, *layers(inner, inner, kernel, stride, inner), *layers(inner, cout, 1, relu=False))
        self.adds = stride == 1 and cin == cout

    def forward(self, x):
        return self.layers(x) + x if self.adds else self.layers(x)


class EfficientNetLite0(nn.Module):
    def __init__(self, classes):
        super().__init__()
        features, cin = layers(3, 32, 3, 2), 32
        for blocks, kernel, stride, factor, cout in STAGES:
            for i in range(blocks):
                features.append(Block(cin, cout, kernel, stride if i == 0 else 1, factor))
                cin = cout
        self.features = nn.Sequential(*features, *layers(cin, 1280, 1))
        self.fc = nn.Linear(1280, classes)

    def forward(self, x):
        """Logits, None, and in training the attention map: in f32, as the losses."""
        x = self.features(x)
        attention_map = x.float().square().mean(1, keepdim=True) if self.training else None
        return self.fc(x.mean((2, 3))), None, attention_map


if __name__ == "__main__":
    print(sum(p.numel() for p in EfficientNetLite0(1000).parameters()), EfficientNetLite0(7)(torch.zeros(2, 3, 160, 160))[2].shape)
