"""What the detectors find, and how fast: `kt policy scan` over the development data and the held-back texts.

Prints the tables of the scorer for each set, then the microseconds that a text of 1 KB takes for each policy and for
the three together.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

PACK = """pack: {{name: quality, version: 1.0.0, enabled: true}}
policies: {{chain: [{chain}]}}
policy:
  prompt-injection: {{}}
  pii-detector: {{entities: all, action: redact}}
  dlp-filter: {{builtin: all, action: block}}
providers:
  targets:
    - {{id: model, provider: "databricks:chat:model", base_url: "https://workspace.example/serving-endpoints"}}
"""
POLICIES = {"pii": "pii-detector", "injection": "prompt-injection", "dlp": "dlp-filter"}
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def scan(kt: pathlib.Path, folder: pathlib.Path, chain: str, data: pathlib.Path) -> pathlib.Path:
    """Scans a set with the policies of `chain`; gives the file of the findings."""
    pack = folder / "pack.yaml"
    pack.write_text(PACK.format(chain=chain))
    found = folder / "found.jsonl"
    with found.open("w") as out:
        command = [kt, "policy", "scan", "--policy-config", pack, "--input", data]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return found


def speed(kt: pathlib.Path, folder: pathlib.Path, data: pathlib.Path) -> None:
    """Prints the microseconds for texts of 1 KB."""
    pieces = [json.loads(line)["text"] for line in data.read_text().splitlines()]
    texts, text = [], ""
    for piece in pieces:
        text += piece + " "
        while len(text) >= 1024:
            texts.append(text[:1024])
            text = text[1024:]
    texts = (texts * (2000 // len(texts) + 1))[:2000]
    lines = folder / "speed.jsonl"
    lines.write_text("".join(json.dumps({"id": str(at), "text": text}) + "\n" for at, text in enumerate(texts)))
    for chain in [*POLICIES.values(), ", ".join(POLICIES.values())]:
        found = scan(kt, folder, chain, lines)
        took = sorted(json.loads(line)["took_us"] for line in found.read_text().splitlines())
        at = lambda share: took[int(len(took) * share)]  # noqa: E731
        print(f"1 KB, {chain}: p50 {at(0.5)} us, p99 {at(0.99)} us")


def main() -> None:
    """Reads the arguments and prints everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--tools", type=pathlib.Path, required=True)
    options = parser.parse_args()
    kt = options.bin_dir / "kt"
    scorer = options.tools / "score_detection.py"
    for needed in (kt, scorer, options.data):
        if not needed.exists():
            sys.exit(f"`{needed}` is not there: set DATA and TOOLS to the development data and its scorer")
    sets = [(task, options.data / task / name) for task in POLICIES for name in ("own.jsonl", "public.jsonl")]
    sets.append(("injection", REPOSITORY / "training/held-back/injection.jsonl"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for task, data in sets:
            print(f"\n== {task}: {data}")
            sys.stdout.flush()
            found = scan(kt, folder, POLICIES[task], data)
            subprocess.run([sys.executable, scorer, data, found, "--by", "source"], check=True)
        print()
        speed(kt, folder, REPOSITORY / "training/held-back/injection.jsonl")


if __name__ == "__main__":
    main()
