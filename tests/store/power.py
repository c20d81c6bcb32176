#!/usr/bin/env python3
"""The power fails during `lookout install`, at every flush of the disk and after random parts of what was written since.

    tests/store/power.py [LOOKOUT]     LOOKOUT: the program (default: target/release/lookout)
                                       needs qemu-system-x86 cpio kmod e2fsprogs (Debian); about three minutes

Debian's kernel in QEMU mounts an ext4 disk whose every write and flush QEMU records (blklogwrites, the format of Linux's
dm-log-writes). On it, rows-lstm is installed; the guest installs rows-gru, then rows-rnn, then goes one step back, and after each one that
said it succeeded writes a mark beside the file system. Then, for every flush in the record, disks are made as a cut may leave them: all
that was flushed, and of the writes after it none, some (chosen by a seed, the same every time) or all, because a
disk may keep them in any order. On each one e2fsck replays the journal, as a mount does, and looks for damage; then
`lookout install --json` must find a bundle installed, whole, by hash and golden vectors: the one that was acknowledged last, or the one
that was being installed. To show that this can fail, the same is asked of disks that know no flush: some of those must be broken.
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

here = os.path.dirname(os.path.abspath(__file__))
top = os.path.dirname(os.path.dirname(here))
target = os.environ.get("CARGO_TARGET_DIR", os.path.join(top, "target"))
lookout = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(target, "release", "lookout")
os.environ["PATH"] += ":/usr/sbin:/sbin"

SECTOR = 512
FS_SECTORS = 24 << 11  # 24 MiB
MARK_SECTOR = FS_SECTORS + 8  # behind the file system
DISK_SECTORS = FS_SECTORS + 2048
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
STEPS = ["rows-gru", "rows-rnn", "--undo"]
SUBSETS = 4
CONTROLS = 12

GUEST = """
modprobe virtio_pci; modprobe virtio_blk; modprobe crc32c_generic; modprobe ext4
mkdir -p /card; mount -t ext4 /dev/vda /card || exit 3
mark() { printf "mark $1" | dd of=/dev/vda bs=512 seek=%d conv=notrunc,fsync 2> /dev/null; }
for step in %s; do
  case $step in --undo) ;; *) step=/bundles/$step ;; esac
  lookout install --state /card/state $step || exit 4
  mark $step
done
umount /card
""" % (MARK_SECTOR, " ".join(STEPS))


def run(*line, **more):
    done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    return done.returncode, done.stdout


def must(*line, **more):
    code, said = run(*line, **more)
    if code != 0:
        sys.exit(f"power.py: {' '.join(line)} ended with {code}:\n{said}")
    return said


def bundle(name):
    return os.path.join(top, "tests", "bundles", name)


def installed(state, *args):
    """What `lookout run` would take."""
    out = must(lookout, "install", "--state", state, "--json", *args)
    return json.loads(out.splitlines()[-1])


def record(work, disk):
    """The guest's writes, as (sector, flags, data), in order."""
    log, script = os.path.join(work, "log"), os.path.join(work, "guest.sh")
    with open(log, "wb") as f:
        f.truncate(256 << 20)
    with open(script, "w") as f:
        f.write(GUEST)
    files = [f"{lookout}:/bin/lookout"]
    for name in STEPS[:2]:
        files += [f"{os.path.join(bundle(name), f)}:/bundles/{name}/{f}" for f in os.listdir(bundle(name))]
    drive = (f"-blockdev driver=file,node-name=disk,filename={disk} -blockdev driver=file,node-name=log,filename={log} "
             "-blockdev driver=blklogwrites,node-name=logged,file=disk,log=log -device virtio-blk-pci,drive=logged")
    env = dict(os.environ, MODULES="virtio_pci virtio_blk crc32c_generic ext4", QEMU_ARGS=drive)
    code, said = run(os.path.join(top, "tests/vm/boot.sh"), script, *files, env=env)
    if code != 0:
        sys.exit(f"power.py: the guest ended with {code}:\n{said[-3000:]}")
    with open(log, "rb") as f:
        magic, version, count, size = struct.unpack("<QQQI", f.read(28))
        assert magic == 0x6A736677736872 and version == 1, "not a log of writes"
        at, entries = size, []
        for _ in range(count):
            f.seek(at)
            sector, sectors, flags, _ = struct.unpack("<QQQQ", f.read(32))
            at += size
            data = b""
            if not flags & DISCARD:
                f.seek(at)
                data = f.read(sectors * SECTOR)
                at += sectors * SECTOR
            elif sectors:
                data = bytes(sectors * SECTOR)
            entries.append((sector, flags, data))
    return entries


def cuts(entries):
    """(what was flushed, what may or may not be there) as lists of entry numbers, for every flush."""
    durable, pending = [], []
    for n, (_, flags, data) in enumerate(entries):
        if flags & FLUSH:
            yield list(durable), list(pending)
            durable, pending = sorted(durable + pending), []
        if data:
            (durable if flags & FUA else pending).append(n)
    yield list(durable), list(pending)
    yield sorted(durable + pending), []


class Judge:
    def __init__(self, work, base, entries, hashes):
        self.work, self.base, self.entries, self.hashes = work, base, entries, hashes
        self.image, self.found = os.path.join(work, "cut"), {}
        # Entry number of each mark: what was acknowledged is there from the flush behind it on.
        self.marks = [n for n, (s, _, d) in enumerate(entries) if s <= MARK_SECTOR < s + len(d) // SECTOR and b"mark" in d]
        assert len(self.marks) == len(STEPS), f"{len(self.marks)} marks in the record, {len(STEPS)} written"
        self.images = 0

    def disk(self, durable, some):
        shutil.copyfile(self.base, self.image)
        with open(self.image, "r+b") as f:
            for n in sorted(durable + some):
                sector, _, data = self.entries[n]
                f.seek(sector * SECTOR)
                f.write(data)
            f.truncate(FS_SECTORS * SECTOR)

    def judge(self, case, durable, some):
        self.disk(durable, some)
        self.images += 1
        # 1: the journal was replayed, or a count was put right, as a mount does; more is damage.
        code, said = run("e2fsck", "-p", "-f", self.image)
        assert code in (0, 1), (case, code, said)
        out = os.path.join(self.work, "card")
        shutil.rmtree(out, ignore_errors=True)
        os.mkdir(out)
        must("debugfs", "-R", f"rdump /state {out}", self.image)
        assert os.path.isdir(os.path.join(out, "state")), (case, "the state folder is gone")
        last = max(durable + some, default=-1)
        acknowledged = sum(m in durable for m in self.marks)
        begun = sum(m <= last for m in self.marks)
        allowed = self.hashes[acknowledged:begun + 2]
        code, said = run(lookout, "install", "--state", os.path.join(out, "state"), "--json")
        assert code == 0, (case, said)
        found = json.loads(said.splitlines()[-1])
        assert found["hash"] in allowed and found["from"] == "installed" and found["trouble"] is None, (case, found, allowed)
        self.found[found["hash"]] = self.found.get(found["hash"], 0) + 1


def main():
    for tool in ("qemu-system-x86_64", "mkfs.ext4", "e2fsck", "debugfs"):
        if not shutil.which(tool):
            sys.exit(f"power.py: {tool} is missing (Debian: apt-get install qemu-system-x86 cpio kmod e2fsprogs)")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        root = os.path.join(work, "root")
        state = os.path.join(root, "state")
        os.makedirs(state)
        hashes = [installed(state, bundle("rows-lstm"))["hash"]]
        base, disk = os.path.join(work, "base"), os.path.join(work, "disk")
        with open(base, "wb") as f:
            f.truncate(DISK_SECTORS * SECTOR)
        must("mkfs.ext4", "-q", "-F", "-b", "1024", "-d", root, base, f"{FS_SECTORS // 2}k")
        shutil.copyfile(base, disk)
        for step in STEPS:
            hashes.append(installed(state, step if step == "--undo" else bundle(step))["hash"])
        entries = record(work, disk)
        judge = Judge(work, base, entries, hashes)
        dice = random.Random(1)
        flushes = 0
        for k, (durable, pending) in enumerate(cuts(entries)):
            flushes += 1
            judge.judge(f"flush {k}, nothing after it", durable, [])
            if pending:
                judge.judge(f"flush {k}, all after it", durable, pending)
            for subset in range(SUBSETS if len(pending) > 1 else 0):
                some = [n for n in pending if dice.random() < 0.5]
                judge.judge(f"flush {k}, subset {subset}: {some} of {pending}", durable, some)
        broken = 0
        everything = [n for n, (_, _, data) in enumerate(entries) if data]
        for _ in range(CONTROLS):
            try:
                judge.judge("without flushes", [], [n for n in everything if dice.random() < 0.5])
            except AssertionError:
                broken += 1
        judge.images -= CONTROLS
        print(f"P2: control: {broken} of {CONTROLS} disks that know no flush are broken")
        assert broken > 0, "this test cannot fail"
        names = ["rows-lstm"] + [s if s != "--undo" else "one step back" for s in STEPS]
        kept = ", ".join(f"{name} {judge.found.get(h, 0)}" for name, h in dict(zip(names[:3], hashes)).items())
        print(f"P2: {len(entries)} writes and flushes, {flushes} cuts, {judge.images} disks: every one starts with the bundle that was "
              f"acknowledged last or the one being installed ({kept})")
        print(f"power.py: OK in {time.monotonic() - began:.0f} s")


main()
