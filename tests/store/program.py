"""The program that is tried, and the bundles that it is given."""
import os
import shutil
import subprocess
import sys

top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
path = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(top, "target")), "release", "lookout")


def named(args, tools, packages):
    """The arguments behind LOOKOUT, if the first one is a path. Ends where the program or a tool is missing."""
    global path
    if args and os.sep in args[0]:
        path, *args = os.path.abspath(args[0]), *args[1:]
    me = os.path.basename(sys.argv[0])
    for tool in tools:
        if not shutil.which(tool):
            sys.exit(f"{me}: {tool} is missing (Debian: apt-get install {packages})")
    if not os.access(path, os.X_OK):
        sys.exit(f"{me}: no program at {path}: cargo build --release --locked, or name it")
    return args


def bundle(name):
    return os.path.join(top, "tests", "bundles", name)


def settings(path):
    """A configuration for bundles that take rows of numbers: without one a box has a camera, and refuses them."""
    with open(path, "w") as f:
        f.write('source = "features:-"\n')
    return path


def lookout(*args, strace=()):
    line = [*strace, path, *args]
    return subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
