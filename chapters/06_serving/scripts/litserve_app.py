"""LitServe with the same ONNX file, to compare with; needs litserve and onnxruntime."""

import socket
import sys

import litserve
import numpy as np
import onnxruntime

FILE, BATCH = sys.argv[1], int(sys.argv[2])


class Digits(litserve.LitAPI):
    """The same model, the same number of threads, the same answer."""

    def setup(self, device):
        """Load once, in the worker."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(FILE, options)

    def decode_request(self, request):
        """JSON to an array."""
        return np.array(request["image"], "float32")

    def predict(self, x):
        """One digit, or a batch of them."""
        return self.session.run(None, {"images": x.reshape(-1, 28, 28)})[0]

    def unbatch(self, output):
        """A batch's answers, one by one."""
        return list(output)

    def encode_response(self, output):
        """An array to JSON."""
        p = output.reshape(-1)
        return {"label": int(p.argmax()), "probabilities": p.tolist()}


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    batch = {"max_batch_size": BATCH, "batch_timeout": 0.003} if BATCH > 1 else {}
    server = litserve.LitServer(Digits(**batch), accelerator="cpu", workers_per_device=1)
    print(f"Running on http://127.0.0.1:{port}/", flush=True)
    server.run(host="127.0.0.1", port=port, log_level="error", generate_client_file=False)
