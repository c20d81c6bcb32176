"""PyTorch's LSTM, GRU and RNN on random weights, for src/train/net.rs: one flat .npy of f32 a cell.

Order: for each of two layers weight_ih, weight_hh, bias_ih, bias_hh as PyTorch has them (LSTM i f g o, GRU r z n), dense weight and bias, input [3,7,5],
logits [3,4] of the last tick. 6 hidden numbers. Needs: PyTorch (any), numpy.    python3 make.py
"""
import numpy as np
import torch

for name in ("LSTM", "GRU", "RNN"):
    torch.manual_seed(7)
    net, dense, x = getattr(torch.nn, name)(5, 6, num_layers=2, batch_first=True), torch.nn.Linear(6, 4), torch.randn(3, 7, 5)
    with torch.no_grad():
        for p in list(net.parameters()) + list(dense.parameters()):
            p.uniform_(-1, 1)
        parts = list(net.parameters()) + [dense.weight, dense.bias, x, dense(net(x)[0][:, -1])]
    np.save(name.lower() + ".npy", np.concatenate([p.detach().numpy().ravel() for p in parts]).astype(np.float32))
