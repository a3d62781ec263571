"""A streaming network in PyTorch: residual backbone with channel attention, GRU step, linear head."""

import torch
from torch import nn

INPUT_SHAPE = (1, 8, 40)  # (channels, columns, bands) of one chunk
CLASSES = 10
HIDDEN = 48


class Attention(nn.Module):
    """Squeeze and excitation: each channel weighted by what the whole chunk holds."""

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 4, 1),
            nn.ReLU(),
            nn.Conv2d(channels // 4, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.net(x)


class Block(nn.Module):
    """Depthwise and pointwise convolution with attention, added to its input."""

    def __init__(self, channels: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            Attention(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.net(x))


class Streaming(nn.Module):
    """What ``cheep convert --streaming`` asks for: ``backbone``, ``cell`` and ``head``."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 24, 3, stride=(1, 2), padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            Block(24),
            nn.MaxPool2d((2, 2)),
            nn.Conv2d(24, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            Block(32),
            nn.MaxPool2d((4, 2)),
            nn.Flatten(),
            nn.Linear(32 * 5, 48),
            nn.ReLU(),
        )
        self.cell = nn.GRU(48, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (n, classes) after the last chunk of x (n, steps, *INPUT_SHAPE)."""
        n, steps = x.shape[:2]
        features = self.backbone(x.reshape((n * steps, *INPUT_SHAPE))).reshape(n, steps, -1)
        return self.head(self.cell(features)[0][:, -1])


def make() -> nn.Module:
    """Return the network with fresh weights."""
    return Streaming()
