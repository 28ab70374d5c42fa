"""What the names of parameters and layers say.

Names are read word by word: `MultiHeadAttention_0` says multi, head, attention. Here are the words that mean something,
in the vocabulary of flax, Equinox, Haiku, PyTorch and of models that are dicts.
"""

import functools
import re
from typing import NamedTuple

KERNELS = {"kernel", "kernels", "weight", "weights", "w", "lora", "proj", "projection", "dense", "linear", "fc", "mlp"}
KERNELS |= {"up", "down", "gate", "router"}
BIASES = {"bias", "biases", "beta", "offset"}
SHORT_BIASES = {"b", "bq", "bk", "bv", "bo", "bi", "bh"}
SCALES = {"scale", "scales", "gamma", "gain"}
NORMS = {"ln", "bn", "gn", "rms"}
TABLES = {"embedding", "embeddings", "table"}
EMBEDDINGS = TABLES | {"embed", "embeds", "embedder", "emb", "wte", "wpe", "pos", "position", "positional", "token"}
EMBEDDINGS |= {"tokens", "codebook"}
EMBEDDED = {"patch", "patches", "proj", "projection", "dense", "linear", "conv", "mlp"}
"""Beside a word for an embedding these say that a layer makes it, and no table."""
HEADS = {"head", "logits", "classifier", "unembed", "unembedding", "readout"}
NO_HEADS = {"multi", "attention", "attn", "router", "gate", "expert", "experts"}
LAST = {"out", "output", "fc", "dense", "linear", "final", "last", "policy", "value", "actor", "critic", "prediction"}
"""The head, for a layer at the root whose outputs no other layer reads."""
QUERIES = {"query", "key", "value", "q", "k", "v", "wq", "wk", "wv", "queries", "keys", "values"}
OUTPUTS = {"out", "o", "wo", "output", "proj"}
EXPERTS = {"expert", "experts", "moe"}
FUSED = {"qkv": 3, "wqkv": 3, "kv": 2, "wkv": 2}
COMPRESSED = {"a", "b", "lora", "down", "up", "latent", "compress"}
"""Beside `kv`: a latent vector for both, and not one beside the other."""
DEPTHWISE = {"depthwise", "dw", "dwconv"}
HIDDEN = {"dense_i": "dense_h", "weight_ih": "weight_hh", "kernel": "recurrent_kernel"}
HIDDEN |= {"wx": "wh", "w_x": "w_h", "wi": "wh", "w_i": "w_h", "ih": "hh"}
"""The kernel of a recurrent cell's inputs, and that of its hidden state."""
MAPS = OUTPUTS | QUERIES | {"dense", "linear", "general"}
"""These say that a kernel of three or more axes has heads, and no window."""


class Leaf(NamedTuple):
    """A parameter: where it is, and its shape."""

    parts: tuple[str, ...]
    """The names on the way to it; the last is its own."""
    shape: tuple[int, ...]

    @property
    def path(self) -> str:
        """The whole name: `layer/kernel`."""
        return "/".join(self.parts)

    @property
    def _end(self) -> int:
        """Where its own name stands; numbers behind it count the arrays of a list."""
        return max((i for i, part in enumerate(self.parts) if not part.isdigit()), default=-1)

    @property
    def name(self) -> str:
        """Its own name; in a list of arrays that of the list."""
        return self.parts[self._end] if self._end >= 0 else ""

    @property
    def module(self) -> tuple[str, ...]:
        """The way to the node that holds it."""
        return self.parts[: max(self._end, 0)]

    @property
    def words(self) -> set[str]:
        """The words of its own name."""
        return set(words(self.name))

    @property
    def layer(self) -> tuple[str, ...]:
        """The way to its layer: the node that holds a `kernel` or a `weight`, else the parameter itself."""
        return self.module if self.name.lower() in ("kernel", "weight", "w") and self.module else self.parts

    @property
    def layer_words(self) -> set[str]:
        """The words that name the layer: `query` of `attention/query/kernel`, `wq` of `attention/wq`."""
        named = [part for part in self.layer if not part.isdigit()]
        return set(words(named[-1])) if named else set()

    @property
    def is_bias(self) -> bool:
        """Whether its name is a bias's; `b` alone may be the second factor of something too."""
        said = words(self.name)
        is_short = "lora" not in said and bool({*said[:1], *said[-1:]} & SHORT_BIASES)
        return is_short or bool(self.words & BIASES and not self.words & TABLES)

    @property
    def is_scale(self) -> bool:
        """Whether its name is that of a factor for each channel, as norms have."""
        if self.words & SCALES or is_norm(self.words):
            return True
        return bool(self.words & {"weight", "w", "g"}) and is_norm(set(words(self.module[-1] if self.module else "")))

    @property
    def is_kernel(self) -> bool:
        """Whether its name is that of a linear map's array."""
        known = KERNELS | EMBEDDED | QUERIES | OUTPUTS | HEADS | FUSED.keys()
        first = words(self.name)[:1]
        return bool(self.words & known) or is_conv(self.words) or bool(first and re.fullmatch("w[a-z]{1,3}", first[0]))

    @property
    def is_embedding(self) -> bool:
        """Whether its name, or in PyTorch's order its layer's, is that of a table."""
        said = self.layer_words if self.words & {"weight"} else self.words
        return bool(said & EMBEDDINGS) and not said & EMBEDDED

    @property
    def is_of_experts(self) -> bool:
        """Whether it belongs to a mixture of experts, and not to attention in it."""
        return not self.layer_words & QUERIES and any(set(words(part)) & EXPERTS for part in self.parts)

    @property
    def has_outputs_first(self) -> bool:
        """Whether its axes stand in PyTorch's order: (out, in, ...)."""
        return "weight" in self.words


@functools.lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """Return the words of a name, in lower case and without digits.

    >>> words("MultiHeadAttention_0"), words("LSTMCell"), words("lora_A")
    (('multi', 'head', 'attention'), ('lstm', 'cell'), ('lora', 'a'))
    """
    return tuple(word.lower() for word in re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name))


def is_norm(said: set[str]) -> bool:
    """Whether the words name a normalization."""
    return any(word in NORMS or word.endswith(("norm", "norms")) for word in said)


def is_conv(said: set[str]) -> bool:
    """Whether the words name a convolution."""
    return any(word.startswith("conv") or word.endswith(("conv", "convs")) for word in said)


def is_head(said: set[str]) -> bool:
    """Whether the words name the layer that gives the outputs."""
    return bool(said & HEADS) and not said & NO_HEADS


def biases(leaves: list[Leaf]) -> dict[int, int]:
    """Return for each kernel that has a bias of its own the index of that.

    That is `bias` beside `kernel`, `b1` beside `w1`, and the second of a nameless pair if it is as wide as the first.
    """

    def key(leaf: Leaf) -> tuple:
        return leaf.module, leaf.parts[len(leaf.module) + 1 :], _stem(leaf.name)

    found = {key(x): i for i, x in enumerate(leaves) if x.is_bias}
    kernels = [i for i, x in enumerate(leaves) if x.is_kernel and not x.is_bias and not x.is_scale]
    pairs = {i: found[key(leaves[i])] for i in kernels if key(leaves[i]) in found}
    for i in range(len(leaves) - 1):
        first, second = leaves[i : i + 2]
        is_pair = first.parts[:-1] == second.parts[:-1] and first.parts[-1:] == ("0",) and second.parts[-1] == "1"
        if is_pair and not first.name and len(first.shape) > 1 and second.shape == first.shape[-1:]:
            pairs[i] = i + 1
    return pairs


def _stem(name: str) -> str:
    """Return what is left of a name without what says kernel or bias."""
    return re.sub("^(kernels?|weights?|w|bias(es)?|b)|(kernel|weight|bias)$", "", name.lower())
