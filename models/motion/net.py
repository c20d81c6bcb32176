"""The two networks: a small CNN per tick and an LSTM over the window.

The CNN takes levels as they come (0 to 255). Its first layer looks at patches of 4x4 without padding (a border of zeros would look like
motion) and is cheap to train and to run; it ends in a dense layer over a 4x4 grid, so that the features keep where things are: what moves
faster than optical flow can see is followed from tick to tick by the LSTM.

Needs: python3-torch (1.13 or newer).
"""
import torch
from torch import nn
from torch.nn import functional as F

SIZE, PLANES, FEATURES, HIDDEN, WINDOW, CLASSES = 64, 5, 96, 96, 16, 7


class Stem(nn.Module):
    """Patches of 4x4 levels to 32 channels. BatchNorm takes the mean level out, so the levels need no centring."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(PLANES, 32, 4, 4, bias=False)
        self.norm = nn.BatchNorm2d(32)

    def forward(self, levels, gain=None):
        """`gain` [5]: contrast of each plane, for augmentation."""
        weight = self.conv.weight / 64
        if gain is not None:
            weight = weight * gain[None, :, None, None]
        return F.relu(self.norm(F.conv2d(levels, weight.contiguous(memory_format=torch.channels_last), stride=4)))


def layer(inner, outer, stride):
    return nn.Sequential(nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU())


class Encoder(nn.Module):
    """Levels [N,5,64,64] -> [N,96]; 7.4 MMAC. Channel counts are multiples of 16: whole vector registers of int8 kernels."""

    def __init__(self):
        super().__init__()
        self.a = Stem()
        self.b = layer(32, 64, 2)
        self.c1 = layer(64, 64, 1)
        self.c2 = layer(64, 64, 1)
        self.d = layer(64, 48, 2)
        self.e = layer(48, 48, 1)
        self.out = nn.Linear(48 * 16, FEATURES)

    def forward(self, levels, gain=None):
        x = self.b(self.a(levels, gain))
        x = x + self.c1(x)
        x = x + self.c2(x)
        x = self.d(x)
        x = x + self.e(x)
        return self.out(torch.flatten(x, 1))


class Head(nn.Module):
    """[N,16,96] -> [N,7]."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, CLASSES)

    def forward(self, window):
        return self.out(self.lstm(window)[0][:, -1])


def windows(features):
    """[B,T,D] -> [B,T-WINDOW+1,WINDOW,D]: every full window of every clip."""
    return features.unfold(1, WINDOW, 1).permute(0, 1, 3, 2)
