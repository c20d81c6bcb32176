#!/usr/bin/env python3
"""Reads sentences on stdin, parses each with pynmea2, and checks the CRC-16 with Python's own arithmetic.

Needs: pip install pynmea2 (tried with 1.19).  Used by .ci/run:
    lookout demo | grep '^\\$' | python3 tests/nmea_pynmea2.py
Lines that do not start with `$` are an error, so that nothing is skipped unseen. Ends with the number of sentences
per kind; exit status 1 if any sentence is wrong or there is none.
"""
import binascii
import collections
import sys

import pynmea2

FIELDS = {"C": {7}, "E": {6}, "N": {6}, "P": {7}, "H": {10}, "G": {2}, "Q": {1}, "A": {2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}


def check(raw):
    """The kind of one sentence; AssertionError or pynmea2.ParseError says what is wrong with it."""
    assert raw.endswith(b"\r\n"), "no CR LF at the end"
    assert len(raw) <= 82, "%d characters, at most 82 expected" % len(raw)
    line = raw[:-2].decode("ascii")
    message = pynmea2.parse(line, check=True)
    assert isinstance(message, pynmea2.nmea.ProprietarySentence), "not a proprietary sentence: %r" % message
    body, _, rest = line[1:].rpartition(",")
    crc = rest.partition("*")[0]
    wanted = "%04X" % binascii.crc_hqx(body.encode("ascii"), 0xFFFF)
    assert crc == wanted, "CRC %s found, %s expected" % (crc, wanted)
    head, *fields = body.split(",")
    assert head[:4] == "PLKT" and len(fields) in FIELDS[head[4:]], "%s with %d fields" % (head, len(fields))
    return head


def main():
    kinds = collections.Counter()
    for number, raw in enumerate(sys.stdin.buffer, 1):
        try:
            kinds[check(raw)] += 1
        except (AssertionError, KeyError, UnicodeDecodeError, pynmea2.ParseError) as error:
            sys.exit("line %d: %r: %s" % (number, raw, error))
    print(" ".join("%s:%d" % pair for pair in sorted(kinds.items())), "all", sum(kinds.values()), "sentences are right")
    sys.exit(0 if kinds else 1)


if __name__ == "__main__":
    main()
