"""What `lookout run` counts: blocks of novelty (blocks.json) and its own starts (runs), killed or refused at every call of their writes.

Blocks that were counted before are there, whatever happens, and the next run goes on counting from there; so do starts. Both are written twice, the
blocks of a second each when the first has ended and at the end, the starts at the start and at the end.
"""
import itertools
import json
import os
import random
import subprocess
import threading
import time
import program
import strace
from program import bundle, lookout

BUNDLE = bundle("boxes")
SIDE = 256  # a picture as large as a pipe: no more than one waits in it
CONFIG = "[novelty]\nblock_s = 1\n"
SECONDS = 3.5  # scores begin after a second; then two blocks, of which the first is written at once, the second at the end


def blocks(state):
    return [state, *(os.path.join(state, name) for name in ("blocks.json", ".unfinished-blocks.json"))]


def runs(state):
    return [os.path.join(memory(state), name) for name in ("runs", "runs.new")]


def picture(dice):
    return dice.randbytes(SIDE * SIDE // 4) * 4


def watch(state, config, pictures, how=(), seconds=SECONDS):
    """A live run over a camera of 20 pictures a second that goes after a while."""
    line = [*how, program.path, "run", "--board", "host", "--bundle", BUNDLE, "--state", state, "--config", config, "--report", "stdout",
            "--source", f"pipe:-,gray,{SIDE}x{SIDE}@20"]
    env = dict(os.environ, RUNTIME_DIRECTORY=memory(state))
    child = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    log = []
    reader = threading.Thread(target=lambda: log.append(child.stderr.read().decode()))
    reader.start()
    until = None
    try:
        for n in itertools.count():
            child.stdin.write(pictures[n % len(pictures)])
            child.stdin.flush()
            # From when the first one is taken.
            until = until or (time.monotonic() + seconds if n else None)
            if until and time.monotonic() > until:
                break
            time.sleep(0.05)
        child.stdin.close()
    except BrokenPipeError:
        pass
    code = child.wait()
    reader.join()
    return code, log[0]


def memory(state):
    """The folder that the service manager gives, beside the state folder."""
    place = os.path.join(os.path.dirname(state), "memory")
    os.makedirs(place, exist_ok=True)
    return place


def starts(state):
    """Starts so far; none where nothing was written yet."""
    try:
        with open(os.path.join(memory(state), "runs")) as f:
            before, times, end, _ = f.read().splitlines()
    except FileNotFoundError:
        return 0
    # A run that ended as it was asked to begins the count of times anew.
    assert 1 <= len(times.split()) <= int(before) + 1 and end.split()[0] in ("killed", "stopped", "failed"), (before, times, end)
    return int(before) + 1


def counted(state):
    with open(os.path.join(state, "blocks.json")) as f:
        return json.load(f)


def run(work):
    dice, config, log = random.Random(5), os.path.join(work, "lookout.toml"), os.path.join(work, "log")
    with open(config, "w") as f:
        f.write(CONFIG)
    film, start = os.path.join(work, "film.y4m"), os.path.join(work, "start")
    pictures = [picture(dice) for _ in range(100)]
    with open(film, "wb") as f:
        f.write(b"YUV4MPEG2 W%d H%d F10:1 Cmono\n" % (SIDE, SIDE))
        f.writelines(b"FRAME\n" + p for p in pictures)
    out = lookout("learn", "--bundle", BUNDLE, "--state", start, *[f"y4m:{film}"] * 3)
    assert out.returncode == 0, out
    code, said = watch(start, config, pictures)
    before = counted(start)
    assert code == 0 and before["blocks"]["best"], (code, said, before)

    for what, seconds, files in [("blocks", SECONDS, blocks), ("starts", 0.5, runs)]:
        trial = os.path.join(work, "trial " + what)
        os.mkdir(trial)
        state = strace.copied(start, trial)
        watch(state, config, pictures, strace.watch(log, files(state)), seconds)
        points = strace.points(log)
        assert ("rename", 2) in points, points

        def case(point, how, folder):
            state = strace.copied(start, folder)
            code, said = watch(state, config, pictures, strace.inject(point, how, files(state)), seconds)
            now, begun, was = counted(state), starts(state), code in (-9, 137)
            known, old = now["blocks"]["best"], before["blocks"]["best"]
            # What cannot be read is said, and not gone on from: that promises less, never more than is true.
            assert now["normal"] == before["normal"] and (known[:len(old)] == old or "counting begins anew" in said), (known, old, said)
            assert was or code == 0, (code, said)
            assert was or said.count("counted anew after a restart") <= 1, said
            code, said = watch(state, config, pictures, seconds=2.6)
            assert code == 0 and "counting begins anew" not in said, said
            assert starts(state) == begun + 1, (begun, starts(state))
            after = counted(state)["blocks"]["best"]
            assert after[:len(known)] == known and len(after) > len(known), (known, after)
            assert not any(name.startswith(".") for name in os.listdir(state)), os.listdir(state)
            more = len(known) > len(old) if what == "blocks" else begun > 0
            return more, was, known[:len(old)] != old

        for row, cases in [("P1", strace.kills(points)), ("P4", strace.refusals(points))]:
            # They wait for their cameras most of the time.
            done = strace.every(cases, work, case, times=10)
            new, killed, anew = (sum(kind) for kind in zip(*done))
            how = f"killed at {killed} of {len(points)} system calls" if row == "P1" else f"refused by the system at {len(done)} calls"
            lost = f", {anew} times anew because it could not be read, which was said" if anew else ""
            print(f"{row} {what}: {how}: {len(done) - new - anew} times what was counted before, {new} times more{lost}; the next run goes on from there")
            assert row == "P4" or (killed >= len(points) * 9 // 10 and not anew), "most calls come again in the same order"
