"""A PyTorch program as a LiteRT file, by litert-torch: run by the interpreter that has it.

The program is what `torch.export.save` wrote; its example's shapes become the file's.

    python torch_to_lite.py program.pt2 model.tflite
"""

import sys
import warnings


def main(program: str, target: str) -> None:
    """Convert one file to the other."""
    warnings.simplefilter("ignore")
    import litert_torch
    import torch

    exported = torch.export.load(program)
    arguments, _ = exported.example_inputs
    litert_torch.convert(exported.module(), arguments).export(target)
    print("written")


if __name__ == "__main__":
    main(*sys.argv[1:])
