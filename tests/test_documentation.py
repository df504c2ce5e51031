"""What the documentation prints as Python runs as it stands, section by section, each in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def sections() -> dict[str, str]:
    """The Python of every section that has some, by the section's heading."""
    found = {}
    for part in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```python\n(.*?)^```", part, flags=re.MULTILINE | re.DOTALL)
        if blocks:
            found[part.partition("\n")[0]] = "\n".join(blocks)
    return found


@pytest.mark.parametrize("heading", sections())
def test_examples_run_as_printed(heading: str, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(sections()[heading])
    done = subprocess.run([sys.executable, "-W", "error", str(file)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
