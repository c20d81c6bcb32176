#!/usr/bin/env python3
"""The far end of the serial line: reads what lookout says and judges it, knowing only the grammar in the README.

  wire.py tap SOCKET FILE      writes all that comes from a QEMU serial socket to FILE until it closes; asks `STATUS` once
  wire.py judge FILE [NAME..]  checks every sentence, then each section (a line `#name` begins one) against EXPECTED
  wire.py check FILE|-         checks that every line is a sound sentence and says how many there were of each kind

Needs nothing but Debian's python3. It shares no code with the program on purpose.
"""
import binascii
import re
import socket
import sys
import time

MANY = 12  # events that are printed one by one
LINE = re.compile(rb"\$(PLKT[CENPHGA]),([^$*\r\n]*),([0-9A-F]{4})\*([0-9A-F]{2})\Z")
FIELDS = {"PLKTC": 7, "PLKTE": 6, "PLKTN": 6, "PLKTP": 7, "PLKTH": 10, "PLKTG": 2}  # between the address and the CRC


def xor(data):
    value = 0
    for byte in data:
        value ^= byte
    return value


def parse(line):
    """One line without its end -> (address, fields), or ValueError saying what is wrong."""
    if len(line) > 80:
        raise ValueError(f"{len(line)} characters, at most 80 before CR LF")
    match = LINE.match(line)
    if not match:
        raise ValueError("not of the form $PLKTx,...,CCCC*XX")
    if xor(line[1:-3]) != int(match[4], 16):
        raise ValueError(f"checksum {match[4].decode()}, expected {xor(line[1:-3]):02X}")
    body = line[1:-8]
    if binascii.crc_hqx(body, 0xFFFF) != int(match[3], 16):
        raise ValueError(f"CRC {match[3].decode()}, expected {binascii.crc_hqx(body, 0xFFFF):04X}")
    address, fields = match[1].decode(), match[2].decode("ascii").split(",")
    if len(fields) != FIELDS.get(address, len(fields)):
        raise ValueError(f"{len(fields)} fields, {address} has {FIELDS[address]}")
    return address, fields


def query(text):
    body = f"PLKTQ,{text}".encode()
    framed = body + b",%04X" % binascii.crc_hqx(body, 0xFFFF)
    return b"$%s*%02X\r\n" % (framed, xor(framed))


def tap(path, out):
    wire = socket.socket(socket.AF_UNIX)
    for _ in range(600):
        try:
            wire.connect(path)
            break
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit(f"wire.py: nobody offers {path}")
    asked = b""
    with open(out, "wb") as file:
        while data := wire.recv(4096):
            file.write(data)
            file.flush()
            if asked is not None:
                asked += data
                if b"$PLKTH" in asked:  # it listens by then
                    wire.sendall(query("STATUS"))
                    asked = None


def sections(path):
    """{name: [(address, fields)]}, [what is wrong]"""
    found, wrong, name = {}, [], "before"
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    if lines[-1] != b"":
        wrong.append(f"the last line has no end: {lines[-1]!r}")
    for line in lines[:-1]:
        if line.startswith(b"#"):
            name = line[1:].strip().decode()
            found[name] = []
        elif line == b"\r":
            pass  # an empty line: the program ends a line that another reader may have seen half of
        elif not line.endswith(b"\r"):
            wrong.append(f"{name}: {line!r}: ends in LF, expected CR LF")
        else:
            try:
                found.setdefault(name, []).append(parse(line[:-1]))
            except ValueError as why:
                wrong.append(f"{name}: {line!r}: {why}")
    return found, wrong


class Section:
    """What one run of the program said."""

    def __init__(self, name, rows):
        self.name, self.rows, self.wrong = name, rows, []
        self.health = [f for a, f in rows if a == "PLKTH"]
        self.classes = [f for a, f in rows if a == "PLKTC"]
        self.events = [f for a, f in rows if a == "PLKTE"]
        self.states = [re.sub(r" .*/.*", "", h[2]) for h in self.health]

    def expect(self, good, what):
        if not good:
            self.wrong.append(f"{self.name}: {what}")

    def numbered(self):
        """Every report has the next number: none lost, none twice, one process."""
        seqs = [int(f[0]) for a, f in self.rows if a in FIELDS and a != "PLKTG"]
        self.expect(seqs == list(range(len(seqs))), f"sequence numbers {seqs}, expected 0..{len(seqs) - 1} in order")

    def one_process(self):
        """Numbers go up from the first to the last: no restart. A status that is overtaken on its way leaves a hole in them."""
        seqs = [int(f[0]) for a, f in self.rows if a in FIELDS and a != "PLKTG"]
        self.expect(seqs and seqs[0] == 0 and all(a < b for a, b in zip(seqs, seqs[1:])), f"sequence numbers {seqs}, expected to go up from 0")
        self.expect(len(self.health) >= 3, f"{len(self.health)} health lines, expected 3 or more")

    def steady(self):
        """Health about once a second, whatever happens."""
        ms = [int(h[1]) for h in self.health]
        gaps = [b - a for a, b in zip(ms, ms[1:])]
        self.expect(all(0 <= g <= 2500 for g in gaps), f"health at {ms} ms, expected once a second (at most 2500 ms apart)")

    def live(self, least_health, whole=True):
        self.numbered() if whole else self.one_process()
        self.steady()
        self.expect(len(self.health) >= least_health, f"{len(self.health)} health lines, expected {least_health} or more")
        self.expect(self.classes, "no class line")
        self.expect("OK" in self.states, f"states {self.states}, expected OK among them")
        # vivid's 640x480 comes at 25 Hz. An emulated machine sees fewer, above all while its host is busy; never more.
        fps = sorted(float(h[3]) for h in self.health if h[2] == "OK")
        self.expect(fps and 1 <= fps[len(fps) // 2] <= 26, f"frames a second {fps}, expected the median in 1..26")

    def comes_back(self, trouble):
        """OK, then the trouble, then OK again, all by the same process."""
        self.live(8, whole=False)
        pattern = f"OK.* {trouble}.* OK"
        self.expect(re.search(pattern, " ".join(self.states)), f"states {self.states}, expected OK, {trouble}, OK")

    def answered(self, what="STATUS"):
        answers = [f for a, f in self.rows if a == "PLKTA" and f[0] == what]
        self.expect(len(answers) == 1, f"{len(answers)} answers to one {what} query")

    def sees(self, labels):
        """These events begin, in this order; others may come between."""
        began = [f[2] for f in self.events if f[1] == "S"]
        rest = iter(began)
        self.expect(all(label in rest for label in labels), f"events {began}, expected {labels} in this order")


EXPECTED = {
    "yuyv": lambda s: (s.live(6), s.answered()),
    "nv12": lambda s: s.live(6),
    "grey": lambda s: s.live(6),
    "mjpg": lambda s: s.live(6),
    "unplug": lambda s: s.comes_back("NO CAMERA"),
    "stall": lambda s: s.comes_back("NO FRAMES"),
    "c1": lambda s: s.one_process(),
    "c2": lambda s: s.one_process(),
    "c3": lambda s: s.one_process(),
    "c4": lambda s: s.one_process(),
    "c5": lambda s: s.expect(s.rows, "no sentence"),  # several runs
    "c6": lambda s: s.one_process(),
    "c7": lambda s: s.one_process(),
    "c9": lambda s: s.expect(s.rows, "no sentence"),  # several runs
    "c10": lambda s: s.one_process(),
    "t1": lambda s: s.one_process(),
    "t2": lambda s: s.one_process(),
    "g1": lambda s: s.expect(s.rows, "no sentence"),  # two runs, killed
    "s2": lambda s: s.one_process(),
    "s1": lambda s: (s.one_process(), s.expect(any(a == "PLKTG" for a, _ in s.rows), "no PLKTG, though more events were lost than are kept")),
    "s1-three-wires": lambda s: s.live(3),
    "s5": lambda s: (s.numbered(), s.steady(), s.answered(), s.answered("VERSION")),
    "p4": lambda s: (s.one_process(), s.steady()),
    "w3": lambda s: s.expect(s.rows, "no sentence"),  # ends in mid-sentence
    "w3-again": lambda s: s.one_process(),
    "doctor": lambda s: s.expect(not s.rows, f"{len(s.rows)} sentences, expected none"),
    "refused": lambda s: s.expect(not s.rows, f"{len(s.rows)} sentences, expected none"),
    "classes": lambda s: (s.numbered(), s.steady(), s.sees(["right", "left", "toward", "away", "shake", "covered", "left"])),
}


def judge(path, names):
    found, wrong = sections(path)
    for name in names:
        if name not in found:
            wrong.append(f"{name}: the section is missing; the wire has {list(found)}")
            continue
        section = Section(name, found[name])
        EXPECTED[name](section)
        wrong += section.wrong
        states = [s for i, s in enumerate(section.states) if i == 0 or s != section.states[i - 1]]
        fps = [h[3] for h in section.health if h[2] == "OK"]
        events = [f"{f[2]} {f[3]}+{f[4]} ms" for f in section.events if f[1] == "E"]
        print(f"{name}: {len(section.rows)} sentences, states {' > '.join(states) or '-'}, fps {fps[-1] if fps else '-'}, events {events if len(events) <= MANY else f'{len(events)}, from {events[0]} to {events[-1]}'}")
    for line in wrong:
        print(f"WRONG {line}")
    return not wrong


def check(path):
    data = sys.stdin.buffer.read() if path == "-" else open(path, "rb").read()
    count, wrong = {}, 0
    for line in data.split(b"\r\n"):
        if line.startswith(b"$"):
            try:
                address, _ = parse(line)
                count[address] = count.get(address, 0) + 1
            except ValueError as why:
                wrong += 1
                print(f"WRONG {line!r}: {why}")
    print(f"{sum(count.values())} sound sentences {count}, {wrong} wrong")
    return wrong == 0 and count.get("PLKTC", 0) > 0


if __name__ == "__main__":
    verb, args = (sys.argv + [""])[1], sys.argv[2:]
    if verb == "tap" and len(args) == 2:
        tap(*args)
    elif verb == "judge" and args:
        sys.exit(0 if judge(args[0], args[1:] or list(EXPECTED)) else 1)
    elif verb == "check" and len(args) == 1:
        sys.exit(0 if check(args[0]) else 1)
    else:
        sys.exit(__doc__)
