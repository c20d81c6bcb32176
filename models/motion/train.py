"""Trains the encoder and the head on rendered shards (dataset.py) and keeps the float weights.

    python3 train.py --data-dir DIR --out float.pt [--epochs 12] [--init float.pt] [--lr 2e-3]

Every tick of a clip goes through the CNN once; every window through the LSTM from a zero state; the loss is taken at
the last tick of each window, where its label is not open to dispute. What is kept is the running mean of the weights. Prints
validation accuracy after every epoch.

Needs: python3-torch, libopenblas0-pthread (ten times faster LSTM), python3-numpy.
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=300000000 in the environment saves a third of the time on Linux.
"""
import argparse
import glob
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

import augment
from net import CLASSES, FEATURES, WINDOW, Encoder, Head, windows

NAMES = ["idle", "left", "right", "toward", "away", "shake", "covered"]


def read(folder, split, device="cpu", held={}):
    """All shards of a split: list of (x u8 [N,T,S,S,5], y [N,T], main [N]) tensors. x stays on disk until it is looked at, or is put on `device`;
    `held`: what an earlier call has read."""
    out = []
    for path in sorted(glob.glob(os.path.join(folder, f"{split}-*.x.npy"))):
        if path not in held:
            beside = path[:-len("x.npy")]
            x = torch.from_numpy(np.load(path, mmap_mode="c")).to(device)
            held[path] = x, *(torch.from_numpy(np.load(f"{beside}{part}.npy").astype(np.int64)) for part in ("y", "main"))
        out.append(held[path])
    return out


def batches(shards, size, gen):
    """Batches of clips from all shards at random, varied: (levels u8 [B,T,S,S,5], y [B,T]). The next one is made while this one is learned."""
    where = [(s, i) for s, (x, _, _) in enumerate(shards) for i in range(len(x))]
    quiet = [(s, i) for s, (_, _, main) in enumerate(shards) for i in (main == 0).nonzero().flatten().tolist()]
    order = torch.randperm(len(where), generator=gen).tolist()

    def idle():
        s, i = quiet[int(torch.randint(len(quiet), (1,), generator=gen))]
        return shards[s][0][i]

    def batch(first):
        clips = [augment.vary(shards[s][0][i], shards[s][1][i], idle, gen) for s, i in (where[k] for k in order[first:first + size])]
        x, y = (torch.stack(part) for part in zip(*clips))
        return x, y.to(x.device)

    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(batch, 0)
        for first in range(size, len(order) - size + 1, size):
            ready, waiting = waiting.result(), worker.submit(batch, first)
            yield ready
        yield waiting.result()


def encode(encoder, x, gain=None, dtype=torch.float32):
    """Levels u8 [B,T,S,S,5] -> features [B,T,D]; convolutions in `dtype` (levels are exact in bfloat16)."""
    flat = x.flatten(0, 1).to(dtype).permute(0, 3, 1, 2)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        out = encoder(flat) if gain is None else encoder(flat, gain)
    return out.float().view(*x.shape[:2], FEATURES)


def predict(encoder, head, shards, batch=50):
    """Logits [N,windows,7], labels of the windows' last ticks, and the clips' main classes."""
    encoder.eval(), head.eval()
    logits, labels, mains = [], [], []
    with torch.no_grad():
        for x, y, main in shards:
            for i in range(0, len(x), batch):
                w = windows(encode(encoder, x[i:i + batch]))
                logits.append(head(w.reshape(-1, WINDOW, FEATURES)).view(w.shape[0], w.shape[1], CLASSES).cpu())
                labels.append(y[i:i + batch, WINDOW - 1:])
            mains.append(main)
    return torch.cat(logits), torch.cat(labels), torch.cat(mains)


def report(logits, labels):
    """Tick accuracy, recall per class, as a line."""
    known = labels >= 0
    right = (logits.argmax(-1) == labels)[known].float()
    each = [(logits.argmax(-1) == labels)[labels == c].float().mean().item() for c in range(CLASSES)]
    return right.mean().item(), " ".join(f"{n} {a:.3f}" for n, a in zip(NAMES, each))


class Mean:
    """Running mean of weights and statistics: steadier than the last step's."""

    def __init__(self, *modules):
        self.modules, self.steps = modules, 0
        self.state = [{k: v.clone() for k, v in m.state_dict().items()} for m in modules]

    def update(self):
        self.steps += 1
        keep = min(0.995, self.steps / (self.steps + 10))
        for held, module in zip(self.state, self.modules):
            for k, v in module.state_dict().items():
                if v.is_floating_point():
                    held[k].mul_(keep).add_(v, alpha=1 - keep)
                else:
                    held[k].copy_(v)

    def networks(self):
        out = Encoder().to(memory_format=torch.channels_last), Head()
        for module, held in zip(out, self.state):
            module.load_state_dict(held)
            module.to(next(iter(held.values())).device)
        return out

    def save(self, path):
        """What export.py reads."""
        encoder, head = ({k: v.cpu() for k, v in held.items()} for held in self.state)
        torch.save({"encoder": encoder, "head": head}, path)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--data-dir", required=True)
    args.add_argument("--out", default="float.pt")
    args.add_argument("--init", help="weights to go on from")
    args.add_argument("--epochs", type=int, default=12)
    args.add_argument("--lr", type=float, default=3e-3)
    args.add_argument("--hold", type=float, default=0.5, help="part of the run before the rate falls")
    args.add_argument("--batch", type=int, default=24, help="clips a step")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--minutes", type=float, help="end after this time, the rate falling in time for it (not repeatable to the bit)")
    args.add_argument("--device", default="cpu", help="cuda: clips and networks on a GPU, convolutions in bfloat16 with --bf16")
    args.add_argument("--bf16", action="store_true", help="convolutions in bfloat16: a third faster where the processor has AMX or AVX-512 BF16")
    a = args.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    gen, drawn = torch.Generator().manual_seed(a.seed), torch.Generator().manual_seed(a.seed + 1)
    augment.move(a.device)
    train, val = (read(a.data_dir, split, a.device) for split in ("train", "val"))
    encoder, head = Encoder().to(a.device, memory_format=torch.channels_last), Head().to(a.device)
    if a.init:
        state = torch.load(a.init, map_location=a.device)
        encoder.load_state_dict(state["encoder"]), head.load_state_dict(state["head"])
    tick = nn.Linear(FEATURES, CLASSES).to(a.device)  # a second opinion from the features alone, only while training
    weights = [p for m in (encoder, head, tick) for p in m.parameters()]
    adam = torch.optim.AdamW(weights, lr=a.lr, weight_decay=1e-2)
    clips = sum(len(x) for x, _, _ in train)
    steps = a.epochs * sum(len(x) // a.batch for x, _, _ in train)
    began = time.time()

    def done(k):
        return max(k / steps, (time.time() - began) / (60 * a.minutes) if a.minutes else 0.0)

    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda k: min(1.0, (k + 1) / 60, max(0.003, (1 - done(k)) / max(1 - a.hold, 1e-9))))
    mean = Mean(encoder, head)
    loss_of = nn.CrossEntropyLoss(ignore_index=-1, label_smoothing=0.04)
    print(f"{clips} clips, {steps} steps", flush=True)
    for epoch in range(a.epochs):
        encoder.train(), head.train()
        start, total, count = time.time(), 0.0, 0
        if done(0) >= 1:
            break
        train = read(a.data_dir, "train", a.device)  # again: shards may have come
        for x, y in batches(train, a.batch, drawn):
            if done(0) >= 1:
                break
            g = 0.8 + 0.4 * torch.rand(2, generator=gen)
            gain = torch.stack([g[0], g[1], g[1], torch.ones(()), torch.ones(())]).to(a.device)
            features = encode(encoder, x, gain, torch.bfloat16 if a.bf16 else torch.float32)
            beside = loss_of(tick(features[:, 1:]).flatten(0, 1), y[:, 1:].flatten())
            if torch.rand(1, generator=gen) < 0.25:  # a late frame: the ring repeats the last features
                k = int(torch.randint(2, x.shape[1], (1,), generator=gen))
                features = torch.cat([features[:, :k], features[:, k - 1:k], features[:, k + 1:]], 1)
            # A recording has no past: `lookout classify` fills the ring with the first tick. Two ticks in, motion can be told.
            w = windows(torch.cat([features[:, :1].expand(-1, WINDOW - 1, -1), features], 1)[:, 2:])
            odd = int(torch.randint(2, (1,), generator=gen))  # every other window: its neighbours say nearly the same
            w = nn.functional.dropout(w[:, odd::2].reshape(-1, WINDOW, FEATURES), 0.1)
            loss = loss_of(head(w), y[:, 2 + odd::2].flatten())
            adam.zero_grad()
            (loss + 0.3 * beside).backward()
            nn.utils.clip_grad_norm_(weights, 2.0)
            adam.step()
            rate.step()
            mean.update()
            total, count = total + loss.detach(), count + 1
            if count % 50 == 0:
                print(f"  {epoch} {count} loss {total / count:.4f} {time.time() - start:.0f} s", flush=True)
                mean.save(a.out)
        accuracy, each = report(*predict(*mean.networks(), val)[:2])
        print(f"epoch {epoch} loss {total / max(count, 1):.4f} validation ticks {accuracy:.4f} | {each} | {time.time() - start:.0f} s", flush=True)
        mean.save(a.out)


if __name__ == "__main__":
    main()
