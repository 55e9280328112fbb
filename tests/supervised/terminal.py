"""terminal.py COMMAND...: the command in a shell on a terminal of its own. It is stopped by ^Z, goes on with fg, stops again as it
reads in the background, goes on with fg, and is ended by ^C; the shell says so at each step. Exits with 42 when all was right.
"""

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time

MOST_SECONDS = 60


def expect(terminal, pattern):
    """Reads until the pattern has come."""
    seen = ""
    end = time.monotonic() + MOST_SECONDS
    while not re.search(pattern, seen):
        if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            states = subprocess.run(["ps", "-Ao", "pid,ppid,pgid,tpgid,stat,wchan:20,args"], capture_output=True, text=True).stdout
            ours = [line for line in states.splitlines() if "obey" in line or "shmshim-static" in line]
            sys.exit(f"no {pattern!r} in {seen!r}\n" + "\n".join(ours))
        try:
            seen += os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            sys.exit(f"the shell has ended without {pattern!r}: {seen!r}")


def main():
    pid, terminal = pty.fork()
    if pid == 0:
        # What runs in the background of a script has these ignored, and a shell leaves that so.
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        os.environ["PS1"] = "ready> "
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])

    def send(text, pattern):
        os.write(terminal, text.encode())
        expect(terminal, pattern)

    expect(terminal, r"ready> ")
    send("set +m; bind 'set enable-bracketed-paste off'; set -m\n", r"ready> $")
    send(shlex.join(sys.argv[1:]) + "\n", r"pid \d+")
    send("g\n", r"g 0 -")
    send("\x1a", r"Stopped[^\n]*\n.*ready> $")
    send("fg\n", r"obey")
    send("g\n", r"g 0 -")
    send("\x1a", r"Stopped[^\n]*\n.*ready> $")
    send("bg\n", r"ready> $")
    # It reads there, which stops it.
    send("wait %1; jobs\n", r"Stopped[^\n]*\n.*ready> $")
    send("fg\n", r"obey")
    send("g\n", r"g 0 -")
    send("\x03", r"ready> $")
    send("echo status=$?\n", r"status=130")
    os.write(terminal, b"exit 0\n")
    os.waitpid(pid, 0)
    sys.exit(42)


main()
