"""A LiteRT file run through CompiledModel: on the CPU, and on a GPU if there is one.

python compiled.py folder      # with model.tflite and x.npy; writes y.npy
"""

import sys
from pathlib import Path

import numpy as np


def main(folder: str) -> None:
    """Run the file on its input, and say what happened."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    path, x = str(Path(folder, "model.tflite")), np.load(Path(folder, "x.npy"))
    said = []
    for name in ("CPU", "GPU"):
        try:
            model = CompiledModel.from_file(path, getattr(HardwareAccelerator, name))
            into, out = model.create_input_buffers(0), model.create_output_buffers(0)
            into[0].write(np.ascontiguousarray(x))
            model.run_by_index(0, into, out)
        except RuntimeError as error:
            said.append(f"{name}: {str(error).splitlines()[0][:90]}")
            continue
        if name == "CPU":
            np.save(Path(folder, "y.npy"), out[0].read(10, np.float32))
        said.append(f"{name}: done, accelerated as a whole: {model.is_fully_accelerated()}")
    print("", *said, sep="\n", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
