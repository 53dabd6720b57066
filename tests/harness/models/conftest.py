from __future__ import annotations

import torch

torch.set_num_threads(1)  # another number sums in another order, and tests that run side by side would only wait for each other
