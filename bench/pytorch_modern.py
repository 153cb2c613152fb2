"""ConvNeXt and vision transformers in PyTorch, as torchvision computes them, with attention maps. Written for speed, under names of its own."""

import torch
from torch import nn
from torch.nn import functional as F

CONVNEXT = {"tiny": ([3, 3, 9, 3], 96), "small": ([3, 3, 27, 3], 96), "base": ([3, 3, 27, 3], 128)}
VIT = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}
PATCH, BLOCKS = 16, 12


class ChannelNorm(nn.LayerNorm):
    """Of `[batch, channels, height, width]`, over the channels."""

    def __init__(self, channels):
        super().__init__(channels, eps=1e-6)

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.layers = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 1e-6))

    def forward(self, x):
        return x + self.scale * self.layers(self.depthwise(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        blocks, width = CONVNEXT[size]
        layers = [nn.Conv2d(3, width, 4, 4), ChannelNorm(width)]
        for stage, count in enumerate(blocks):
            if stage > 0:
                layers += [ChannelNorm(width), nn.Conv2d(width, 2 * width, 2, 2)]
                width *= 2
            layers += [ConvNeXtBlock(width) for _ in range(count)]
        self.features = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        """Logits, None, and in training the attention map: in f32, as the losses."""
        x = self.features(x)
        attention_map = x.float().square().mean(1, keepdim=True) if self.training else None
        return self.fc(self.norm(x.mean((2, 3)))), None, attention_map


class TransformerBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, with_map=False):
        """The tokens, and what the first of them sees of the others, mean over heads."""
        qkv = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind()
        seen = None
        if with_map:
            scores = q[:, :, :1] @ k.transpose(2, 3) / q.shape[3] ** 0.5
            seen = scores.float().softmax(3)[:, :, 0, 1:].mean(1)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x)), seen


class VisionTransformer(nn.Module):
    def __init__(self, size, classes, side):
        super().__init__()
        width, heads = VIT[size]
        self.side = side // PATCH
        self.patches = nn.Conv2d(3, width, PATCH, PATCH)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 1 + self.side**2, width) * 0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        """Logits, None, and in training the attention map."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        for i, block in enumerate(self.blocks):
            x, seen = block(x, self.training and i + 1 == BLOCKS)
        attention_map = seen.unflatten(1, (1, self.side, self.side)) if self.training else None
        return self.fc(self.norm(x[:, 0])), None, attention_map


if __name__ == "__main__":
    count = lambda network: sum(p.numel() for p in network.parameters())
    print([count(ConvNeXt(size, 1000)) for size in CONVNEXT], [count(VisionTransformer(size, 1000, 224)) for size in VIT])
    print(ConvNeXt("tiny", 7)(torch.zeros(2, 3, 128, 128))[2].shape, VisionTransformer("tiny", 7, 128)(torch.zeros(2, 3, 128, 128))[2].shape)
