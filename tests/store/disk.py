"""A disk whose power is cut: what a guest writes to it, and what it may hold after a cut.

Debian's kernel in QEMU mounts an ext4 disk whose every write and flush QEMU records (blklogwrites, the format of Linux's dm-log-writes). Whatever the
guest acknowledges it marks beside the file system. A cut leaves all that was flushed, and of the writes after that none, some or all, because
a disk may keep them in any order.
"""
import os
import shutil
import struct
import subprocess
import sys
import program

os.environ["PATH"] += ":/usr/sbin:/sbin"

SECTOR = 512
FS_SECTORS = 24 << 11  # 24 MiB
MARK_SECTOR = FS_SECTORS + 8  # behind the file system
DISK_SECTORS = FS_SECTORS + 2048
FLUSH, FUA, DISCARD = 1, 2, 4

# `mark WORDS` acknowledges.
GUEST = """
modprobe virtio_pci; modprobe virtio_blk; modprobe crc32c_generic; modprobe ext4
mkdir -p /card; mount -t ext4 /dev/vda /card || exit 3
mark() { printf "mark $*\\n" | dd of=/dev/vda bs=512 seek=%d conv=notrunc,fsync 2> /dev/null; }
%%s
umount /card
""" % MARK_SECTOR


def run(*line, **more):
    done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    return done.returncode, done.stdout


def must(*line, **more):
    code, said = run(*line, **more)
    if code != 0:
        sys.exit(f"power.py: {' '.join(line)} ended with {code}:\n{said[-3000:]}")
    return said


def make(path, root):
    """A disk with the folder `root` on it, and room for marks."""
    with open(path, "wb") as f:
        f.truncate(DISK_SECTORS * SECTOR)
    must("mkfs.ext4", "-q", "-F", "-b", "1024", "-d", root, path, f"{FS_SECTORS // 2}k")


class Record:
    """What the guest that runs `script` wrote to a copy of the disk `base`, as (sector, flags, data), in order."""

    def __init__(self, work, base, script, files):
        self.base, log, guest, disk = base, *(os.path.join(work, name) for name in ("log", "guest.sh", "disk"))
        with open(guest, "w") as f:
            f.write(GUEST % script)
        drive = (f"-blockdev driver=file,node-name=disk,filename={disk} -blockdev driver=file,node-name=log,filename={log} "
                 "-blockdev driver=blklogwrites,node-name=logged,file=disk,log=log -device virtio-blk-pci,drive=logged")
        env = dict(os.environ, MODULES="virtio_pci virtio_blk crc32c_generic ext4", QEMU_ARGS=drive)
        # A kernel whose emulated clock stands still while it boots, on a machine that others load, is booted once more.
        for last in (False, True):
            shutil.copyfile(base, disk)
            with open(log, "wb") as f:
                f.truncate(0)
                f.truncate(256 << 20)
            code, said = run(os.path.join(program.top, "tests/vm/boot.sh"), guest, *files, env=env)
            if code == 0:
                break
            if last or "VM-UP" in said:
                sys.exit(f"power.py: the guest ended with {code}:\n{said[-3000:]}")
        self.entries = list(read(log))
        # Entry number of each mark, and its words: what was acknowledged is there from the flush behind it on.
        self.marks = [(n, mark(sector, data)) for n, (sector, _, data) in enumerate(self.entries) if mark(sector, data)]

    def cuts(self):
        """(what was flushed, what may or may not be there) as lists of entry numbers, for every flush."""
        durable, pending = [], []
        for n, (_, flags, data) in enumerate(self.entries):
            if flags & FLUSH:
                yield list(durable), list(pending)
                durable, pending = sorted(durable + pending), []
            if data:
                (durable if flags & FUA else pending).append(n)
        yield list(durable), list(pending)
        yield sorted(durable + pending), []

    def card(self, place, durable, some):
        """The folder that a disk with these writes holds, in a folder of its own, after the journal was replayed as a mount does. More damage than that fails."""
        image, card = os.path.join(place, "image"), os.path.join(place, "card")
        shutil.copyfile(self.base, image)
        with open(image, "r+b") as f:
            for n in sorted(durable + some):
                sector, _, data = self.entries[n]
                f.seek(sector * SECTOR)
                f.write(data)
            f.truncate(FS_SECTORS * SECTOR)
        # 1: the journal was replayed, or a count was put right; more is damage.
        code, said = run("e2fsck", "-p", "-f", image)
        assert code in (0, 1), (code, said)
        os.mkdir(card)
        must("debugfs", "-R", f"rdump / {card}", image)
        return card


def mark(sector, data):
    at = (MARK_SECTOR - sector) * SECTOR
    words = data[at:at + SECTOR].split(b"\n")[0] if 0 <= at < len(data) else b""
    return words.decode().split()[1:] if words.startswith(b"mark ") else None


def read(log):
    with open(log, "rb") as f:
        magic, version, count, size = struct.unpack("<QQQI", f.read(28))
        assert magic == 0x6A736677736872 and version == 1, "not a log of writes"
        at = size
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
            yield sector, flags, data
