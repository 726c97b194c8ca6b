"""What stands in for a notebook in test_schedule. Each process imports this file, so it imports little."""

import os
import time
from pathlib import Path


def work(name: str, folder: Path) -> None:
    """Draw a figure, or fail as the name says."""
    if name == "broken":
        raise RuntimeError("broken failed in cell 3: KeyError: 'x'")
    if name == "verbose":
        raise RuntimeError("verbose failed\n" + "x" * 200_000)
    if name == "killed":
        os._exit(7)
    print("chatter that nobody sees")
    (folder / f"{name}_one.png").write_bytes(os.environ["TOLD"].encode())
    (folder / f"{name}.begun").write_text(str(time.monotonic()))
    time.sleep(0.5)
