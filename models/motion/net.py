"""The two networks: a small CNN per tick and an LSTM over the window.

The CNN takes levels as value = (level - 128) / 64, never pads its first layer (a border of zeros would look like motion), and ends
in a dense layer over a 4x4 grid, so that the features keep where things are: what moves faster than optical flow can see is
followed from tick to tick by the LSTM.

Needs: python3-torch (1.13 or newer).
"""
import torch
from torch import nn

SIZE, PLANES, FEATURES, HIDDEN, WINDOW, CLASSES = 64, 5, 64, 64, 16, 7


def layer(inner, outer, stride, pad=1):
    return nn.Sequential(nn.Conv2d(inner, outer, 3, stride, pad, bias=False), nn.BatchNorm2d(outer), nn.ReLU())


class Encoder(nn.Module):
    """[N,5,64,64] -> [N,64]; 1.8 MMAC."""

    def __init__(self):
        super().__init__()
        self.a = layer(PLANES, 8, 2, 0)
        self.b = layer(8, 16, 2)
        self.c = layer(16, 32, 2)
        self.d = layer(32, 32, 1)
        self.e = layer(32, 48, 2)
        self.out = nn.Linear(48 * 16, FEATURES)

    def forward(self, x):
        x = self.c(self.b(self.a(x)))
        x = x + self.d(x)
        return self.out(torch.flatten(self.e(x), 1))


class Head(nn.Module):
    """[N,16,64] -> [N,7]."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, CLASSES)

    def forward(self, window):
        return self.out(self.lstm(window)[0][:, -1])


def levels(x):
    """Levels u8 -> what the encoder computes with."""
    return (x.float() - 128.0) / 64.0


def windows(features):
    """[B,T,D] -> [B,T-WINDOW+1,WINDOW,D]: every full window of every clip."""
    return features.unfold(1, WINDOW, 1).permute(0, 1, 3, 2)
