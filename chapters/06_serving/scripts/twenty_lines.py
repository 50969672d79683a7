"""Twenty lines of Flask, as many tutorials show them and as the notebook begins: do not copy."""

import sys

import numpy as np
from flask import Flask, jsonify, request
from werkzeug.serving import make_server

from utils import checkpoints
from utils.serving import engines
from utils.serving.registry import PLAN

app = Flask(__name__)
kind = sys.argv[1] if len(sys.argv) > 1 else "keras"
model = engines.make(kind, engines.MODELS["digits"], checkpoints.load(PLAN["digits"][-1]))


@app.route("/predict", methods=["POST"])
def predict():
    """Read one digit."""
    x = np.array(request.get_json()["image"], "float32")[None]
    p = model(x)["probabilities"][0]
    return jsonify({"label": int(p.argmax()), "probabilities": p.tolist()})


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app, threaded=True)  # what app.run() does
    print(f"Running on http://127.0.0.1:{server.port}/", flush=True)
    server.serve_forever()
