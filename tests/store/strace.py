"""One system call of the program made its last one, or refused by the system: what `kill.py` does with every write, in one place.

strace counts the calls of a run; a point is the k-th call of a name within one thread. Then, for each point, the same run begins again from the
same state, in a folder of its own, and is sent SIGKILL as it enters that call, or is told by the kernel that the card is full, read-only or broken.
As many runs at a time as there are cores: each has its own folder, so they know nothing of each other.
"""
import collections
import concurrent.futures
import os
import re
import shutil
import tempfile

# How often a wait is repeated depends on the machine: it is killed in its first ones.
WAITS = {"wait4": 3, "clock_nanosleep": 3, "restart_syscall": 1, "futex": 2, "poll": 3, "ppoll": 3}
MEMORY = {"brk", "mmap", "mremap", "munmap"}
CHANGES = {"openat", "mkdir", "write", "fsync", "fdatasync", "ftruncate", "fchmod", "chmod", "rename", "unlink", "unlinkat", "rmdir", "flock"}
# write returns what it wrote; the others that take a descriptor only fail with what a card can say.
ERRORS = collections.defaultdict(lambda: ["ENOSPC", "EROFS", "EIO"], flock=["EIO"], getdents64=["EIO"])


def watch(log, paths=None):
    """strace that writes down the calls of the program itself; with paths, of all its threads, but only those that concern these."""
    return ["strace", "-o", log, *about(paths)]


def inject(point, what, paths=None):
    name, k = point
    return ["strace", "-o", "/dev/null", *about(paths), "-e", f"trace={name}", "-e", f"inject={name}:{what}:when={k}"]


def about(paths):
    return [] if paths is None else ["-f", *(word for path in paths for word in ("-P", path))]


# Where memory comes from is asked otherwise in every run, and says nothing of what is written; a kill there is one at the next call.
ELSEWHERE = ("exit_group", "execve", "brk", "mmap", "munmap", "mremap", "madvise", "mprotect")


def points(log, only=None, since=""):
    """Every call in a log, or those of some names, or those from the first one on that has these words in it, as (name, k). Where several threads come to
    the k-th of a name, the first to do so is hit."""
    each, found, begun = collections.Counter(), {}, False
    with open(log) as lines:
        for line in lines:
            begun |= since in line
            call = re.match(r"(\d* *)(\w+)\(", line)
            if call and call[2] not in ELSEWHERE and (only is None or call[2] in only):
                each[call.groups()] += 1
                # How the processor is made is asked in many calls, long before anything is written.
                if begun and '"/sys/' not in line and each[call.groups()] <= WAITS.get(call[2], each[call.groups()]):
                    found[call[2], each[call.groups()]] = None
    return list(found)


def kills(points):
    return [(point, "signal=SIGKILL") for point in points]


def refusals(points, names=frozenset(CHANGES)):
    return [(point, f"error={error}") for point in points if point[0] in names for error in ERRORS[point[0]]]


def killed(out):
    return out.returncode in (-9, 137)


def sentence(out):
    """What was said of a refusal, which is one sentence. What the program is made of (its libraries) may be refused too; then the linker says so."""
    said = [line for line in out.stderr.splitlines() if not line.startswith("[")]
    assert len(said) == 1, (out.returncode, out.stderr)
    return said[0]


def every(cases, work, case, times=1):
    """`case(point, what, folder)` for each, in its own empty folder; what each gave. The first that fails says which it was. `times` the cores at a time."""
    def one(given):
        with tempfile.TemporaryDirectory(dir=work) as folder:
            try:
                return case(*given, folder)
            except AssertionError as e:
                raise AssertionError(f"{given[1]} at {given[0][0]} {given[0][1]}: {e}") from e
    with concurrent.futures.ThreadPoolExecutor(times * os.cpu_count()) as pool:
        return list(pool.map(one, cases))


def copied(start, folder):
    """A state folder as it was at the start."""
    state = os.path.join(folder, "state")
    shutil.copytree(start, state)
    return state


def told(outs):
    """How many of each error ended in one sentence."""
    counts = collections.Counter(outs)
    return ", ".join(f"{error} {count}" for error, count in sorted(counts.items()))
