"""Models, optimisers and trainers in files.

- `save_load.py`: nn.save, nn.load, restore
- `parts.py`, `tree.py`, `rebuild.py`: modules, optimisers and values as JSON and arrays, and back
- `file.py`, `header.py`: the format, safetensors, read without trust
"""

from .header import CheckpointError
from .save_load import Checkpoint, load, restore, save

__all__ = ["Checkpoint", "CheckpointError", "load", "restore", "save"]
