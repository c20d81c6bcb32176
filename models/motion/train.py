"""Trains the encoder and the head on rendered shards (dataset.py) and keeps the float weights.

    python3 train.py --data-dir DIR --out float.pt [--epochs 12] [--init float.pt] [--lr 2e-3]

Every tick of a clip goes through the CNN once; every full window through the LSTM from a zero state; the loss is taken at
the last tick of each window, where its label is not open to dispute. Prints validation accuracy after every epoch.

Needs: python3-torch, libopenblas0-pthread (ten times faster LSTM), python3-numpy.
"""
import argparse
import glob
import os
import time

import numpy as np
import torch
from torch import nn

from net import CLASSES, FEATURES, WINDOW, Encoder, Head, levels, windows

NAMES = ["idle", "left", "right", "toward", "away", "shake", "covered"]


def read(pattern):
    """All shards of a pattern: list of (x u8 [N,T,5,S,S], y [N,T]) tensors."""
    out = []
    for path in sorted(glob.glob(pattern)):
        with np.load(path) as z:
            out.append((torch.from_numpy(z["x"]), torch.from_numpy(z["y"].astype(np.int64)), torch.from_numpy(z["main"].astype(np.int64))))
    return out


def mirror(x, y):
    """Left becomes right: planes flipped, horizontal flow negated, labels swapped."""
    x = x.flip(-1)
    u = x[:, :, 3].to(torch.int16)
    x[:, :, 3] = (256 - u).clamp(0, 255).to(torch.uint8)
    return x, torch.where(y == 1, 2, torch.where(y == 2, 1, y))


def jolt(x, gen):
    """Levels -> values, with light, contrast and grain varied per clip."""
    b = x.shape[0]
    v = levels(x)
    r = torch.rand(b, 4, 1, 1, 1, generator=gen)
    grey = v[:, :, :1] * (0.75 + 0.5 * r[:, 0]) + (r[:, 1] - 0.5) * 0.5
    motion = (v[:, :, 1:3] + 2) * (0.8 + 0.4 * r[:, 2]) - 2
    v = torch.cat([grey.clamp(-2, 2), motion, v[:, :, 3:]], 2)
    return v


def encode(encoder, v, fast):
    """[B,T,5,S,S] -> [B,T,D]."""
    b, t = v.shape[:2]
    flat = v.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    if fast:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            f = encoder(flat)
    else:
        f = encoder(flat)
    return f.float().view(b, t, FEATURES)


def predict(encoder, head, shards, fast=False, batch=50):
    """Logits [N,windows,7], labels of the windows' last ticks, and the clips' main classes."""
    encoder.eval(), head.eval()
    logits, labels, mains = [], [], []
    with torch.no_grad():
        for x, y, main in shards:
            for i in range(0, len(x), batch):
                w = windows(encode(encoder, levels(x[i:i + batch]), fast))
                logits.append(head(w.reshape(-1, WINDOW, FEATURES)).view(w.shape[0], w.shape[1], CLASSES))
                labels.append(y[i:i + batch, WINDOW - 1:])
            mains.append(main)
    return torch.cat(logits), torch.cat(labels), torch.cat(mains)


def report(logits, labels):
    """Tick accuracy, recall per class, as a line."""
    known = labels >= 0
    right = (logits.argmax(-1) == labels)[known].float()
    each = [(logits.argmax(-1) == labels)[labels == c].float().mean().item() for c in range(CLASSES)]
    return right.mean().item(), " ".join(f"{n} {a:.3f}" for n, a in zip(NAMES, each))


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--data-dir", required=True)
    args.add_argument("--out", default="float.pt")
    args.add_argument("--init", help="weights to go on from")
    args.add_argument("--epochs", type=int, default=12)
    args.add_argument("--lr", type=float, default=2e-3)
    args.add_argument("--warm", type=float, default=0.05, help="part of the run in which the rate rises")
    args.add_argument("--batch", type=int, default=24, help="clips a step")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--bf16", action="store_true", help="convolutions in bfloat16 (twice as fast where the CPU has it)")
    args.add_argument("--skip", type=int, default=0, help="leave out this many of the first shards")
    a = args.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    gen = torch.Generator().manual_seed(a.seed)
    train, val = read(os.path.join(a.data_dir, "train-*.npz"))[a.skip:], read(os.path.join(a.data_dir, "val-*.npz"))
    encoder, head = Encoder().to(memory_format=torch.channels_last), Head()
    if a.init:
        state = torch.load(a.init)
        encoder.load_state_dict(state["encoder"]), head.load_state_dict(state["head"])
    tick = nn.Linear(FEATURES, CLASSES)  # a second opinion from the features alone, only while training
    weights = [p for m in (encoder, head, tick) for p in m.parameters()]
    adam = torch.optim.AdamW(weights, lr=a.lr, weight_decay=1e-2)
    clips = sum(len(x) for x, _, _ in train)
    steps = a.epochs * sum(len(x) // a.batch for x, _, _ in train)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, a.lr, total_steps=steps + 1, pct_start=a.warm, final_div_factor=300)
    loss_of = nn.CrossEntropyLoss(ignore_index=-1, label_smoothing=0.04)
    print(f"{clips} clips, {steps} steps", flush=True)
    for epoch in range(a.epochs):
        encoder.train(), head.train()
        start, total, count = time.time(), 0.0, 0
        for s in torch.randperm(len(train), generator=gen).tolist():
            x_all, y_all, _ = train[s]
            order = torch.randperm(len(x_all), generator=gen)
            for i in range(0, len(order) - a.batch + 1, a.batch):
                pick = order[i:i + a.batch]
                x, y = x_all[pick], y_all[pick]
                half = a.batch // 2
                xm, ym = mirror(x[:half], y[:half])
                x, y = torch.cat([xm, x[half:]]), torch.cat([ym, y[half:]])
                features = encode(encoder, jolt(x, gen), a.bf16)
                beside = loss_of(tick(features[:, 1:]).flatten(0, 1), y[:, 1:].flatten())
                if torch.rand(1, generator=gen) < 0.25:  # a late frame: the ring repeats the last features
                    k = int(torch.randint(2, x.shape[1], (1,), generator=gen))
                    features = torch.cat([features[:, :k], features[:, k - 1:k], features[:, k + 1:]], 1)
                w = windows(features)
                loss = loss_of(head(w.reshape(-1, WINDOW, FEATURES)), y[:, WINDOW - 1:].flatten())
                adam.zero_grad()
                (loss + 0.3 * beside).backward()
                nn.utils.clip_grad_norm_(weights, 2.0)
                adam.step()
                rate.step()
                total, count = total + loss.item(), count + 1
                if count % 25 == 0:
                    print(f"  {epoch} {count} loss {total / count:.4f} {time.time() - start:.0f} s", flush=True)
        accuracy, each = report(*predict(encoder, head, val, a.bf16)[:2])
        print(f"epoch {epoch} loss {total / count:.4f} validation ticks {accuracy:.4f} | {each} | {time.time() - start:.0f} s", flush=True)
        torch.save({"encoder": encoder.state_dict(), "head": head.state_dict(), "epoch": epoch}, a.out)


if __name__ == "__main__":
    main()
