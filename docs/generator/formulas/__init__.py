"""The update rule of every optimizer in TeX, from the files beside this one, one for each family.

They are written by hand from the code, with its default options.
"""

import tomllib
from pathlib import Path

LETTERS = r"""
$t = 1, 2, \dots$ counts the updates. $g_t$ is the gradient, taken at the parameters $p_t$, and $u_t$ is added to them:
$p_{t+1} = p_t + u_t$. A rule for matrices has $G_t$ and $P_t$ in their place, $n_{\text{in}}$ inputs by
$n_{\text{out}}$ outputs, which is how kernels lie; what is no matrix goes by the rule that the page names.
$\operatorname{msign}(U \Sigma V^\top) = U V^\top$ makes a matrix orthogonal, by Newton-Schulz. Arrays are multiplied,
divided, squared and rooted entry by entry; matrices too where a root, a fraction or $\odot$ says so.
$g^2$ is $|g|^2$ where numbers are complex. Norms and inner products go over all parameters together where no array,
matrix or column is named.

$\eta$ is `learning_rate`, $\lambda$ `weight_decay`, $\mu$ `momentum` or the `decay` that takes its place, $\beta$
`beta` or `decay`, $\beta_1, \beta_2, \beta_3$ `b1`, `b2`, `b3`, and $\epsilon$ `eps`. Where decay or momentum is off by
default, $\lambda = 0$ or $\mu = 0$; other options that are off by default are left out. Moments, sums and maxima are 0
before the first update where nothing else is said.
"""
"""What the letters mean, for the index of the optimizers."""


def _read(path: Path) -> dict[str, str]:
    return {name: rule.strip() for name, rule in tomllib.loads(path.read_text()).items()}


FAMILIES = {path.stem: _read(path) for path in sorted(Path(__file__).parent.glob("*.toml"))}
"""From the name of a file to its formulas."""
FORMULAS = {name: rule for family in FAMILIES.values() for name, rule in family.items()}
"""From optimizer to formula; every optimizer that has a page has one."""
