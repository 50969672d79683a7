"""What a client that others wrote makes of the server: ``public_client.py PORT``, in Triton's own.

It runs in an environment of its own: the client asks for older packages than the course has.
"""

import json
import sys

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

client = InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("digits") and client.is_model_ready("digits", "1")
found = {"server": client.get_server_metadata(), "model": client.get_model_metadata("digits")}

images = np.random.default_rng(0).integers(0, 256, (2, 28, 28)).astype("float32")
asked = {}
for binary in (True, False):  # by default its tensors go as bytes after the JSON
    asked[binary] = InferInput("images", [2, 28, 28], "FP32")
    asked[binary].set_data_from_numpy(images, binary_data=binary)
    for wanted in (None, True, False):
        outputs = [InferRequestedOutput("probabilities", binary_data=wanted)]
        answer = client.infer(
            "digits", [asked[binary]], outputs=None if wanted is None else outputs
        )
        found[f"{binary}, {wanted}"] = answer.as_numpy("probabilities").tolist()
found["old"] = client.infer("digits", [asked[True]], "1").get_response()["model_version"]
for name, model in (("unknown", "nothing"), ("wrong", "generator")):
    try:
        client.infer(model, [asked[True]])
    except InferenceServerException as error:
        found[name] = [error.status(), error.message()]
print(json.dumps(found))
