"""How a value shows itself: through a package above this one, which is imported when there is something to see.

So `import gradx` loads no matplotlib, and what only looks at values stands above them.
"""

import importlib
from typing import Any


def show(module: str, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call the function `name` of `gradx.<module>` and return what it returns.

    Raises ImportError with the cure where matplotlib is not there.
    """
    return getattr(importlib.import_module(f"gradx.{module}"), name)(*args, **kwargs)
