"""States in checkpoints: by names that outlive a change of the optimizer, across optimizers, to and from torch.

`state_dict` and `load_state_dict` are for any store of arrays; `save` and `restore` keep training in a directory, with
Orbax underneath; `mend` takes a state that came back as dicts and lists; `migrate` changes the optimizer in mid-run.
"""

from gradx.checkpoint.files import CheckpointError, UnfinishedError
from gradx.checkpoint.mending import mend
from gradx.checkpoint.report import Report
from gradx.checkpoint.state_dict import load_state_dict, migrate, state_dict
from gradx.checkpoint.storage import Restored, Saving, restore, save
from gradx.checkpoint.torch_states import from_torch, to_torch
from gradx.glossary import document_all

__all__ = [
    "CheckpointError",
    "Report",
    "Restored",
    "Saving",
    "UnfinishedError",
    "from_torch",
    "load_state_dict",
    "mend",
    "migrate",
    "restore",
    "save",
    "state_dict",
    "to_torch",
]

__dir__ = document_all(globals(), __all__)
