"""The examples of docs/sharding.md run as they stand."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "sharding.md"


def test_examples(capsys):
    namespace = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), namespace)
    assert "0/mu/kernel  float32[64,128]  P(None, 'data')  as kernel" in capsys.readouterr().out
