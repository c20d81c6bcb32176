"""PyTorch's LSTM, GRU and RNN on random weights, for src/train/net.rs: one flat .npy of f32 a cell.

Order: for each of two layers weight_ih, weight_hh, bias_ih, bias_hh as PyTorch has them (LSTM i f g o, GRU r z n), dense weight and bias, input [3,7,5],
logits [3,4] of the last tick; then the gradients of all these weights in the same order, of the mean cross-entropy of the last 4 ticks (time first,
classes 0, 1, 2 for the three windows). 6 hidden numbers. Needs: PyTorch (any), numpy.    python3 make.py
"""
import numpy as np
import torch

for name in ("LSTM", "GRU", "RNN"):
    torch.manual_seed(7)
    net, dense, x = getattr(torch.nn, name)(5, 6, num_layers=2, batch_first=True), torch.nn.Linear(6, 4), torch.randn(3, 7, 5)
    weights = list(net.parameters()) + list(dense.parameters())
    with torch.no_grad():
        for p in weights:
            p.uniform_(-1, 1)
    logits = dense(net(x)[0][:, -4:].transpose(0, 1))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor([0, 1, 2]).repeat(4)).backward()
    parts = weights + [x, logits[-1]] + [p.grad for p in weights]
    np.save(name.lower() + ".npy", np.concatenate([p.detach().numpy().ravel() for p in parts]).astype(np.float32))
