"""The main job, driven over real HTTP: one gateway from one file, then a fleet behind a load balancer.

Exits 0 only if each step did what it says. Standard library only.
Set DATABRICKS_HOST and DATABRICKS_TOKEN to use a real workspace; the steps that read the fake's log or script its
failures then say that they are left out.
"""

import argparse
import os
import pathlib
import shutil
import sys
import tempfile

from common import Failed, check, say
from fleet import Fleet
from one_file import OneFile


def update_readme(path, transcript):
    begin, end = "<!-- transcript: begin -->", "<!-- transcript: end -->"
    text = path.read_text()
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    check(rest and tail is not None, f"{path} has no place for the transcript")
    path.write_text(f"{head}{begin}\n```text\n{transcript.strip()}\n```\n{end}{tail}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--update-readme", type=pathlib.Path)
    parser.add_argument("--part", choices=["one", "two", "both"], default="both")
    arguments = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="kt-demo-"))
    parts = {"one": [OneFile], "two": [Fleet], "both": [OneFile, Fleet]}[arguments.part]
    keep = os.environ.get("KEEP") == "1"
    running = None
    try:
        for part in parts:
            folder = work / part.__name__.lower()
            folder.mkdir()
            running = part(arguments.bin_dir.resolve(), folder)
            running.run()
            if not (keep and part is parts[-1]):
                running.stop()
        say()
        say("every step did what it says")
        if arguments.update_readme:
            update_readme(arguments.update_readme, say.kept.getvalue())
        if keep:
            running.keep()
    except Failed as failure:
        print(f"\nFAILED: {failure}; logs are in {work}", file=sys.stderr)
        return 1
    finally:
        if running:
            running.stop()
    shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
