"""A small model server: the course's models behind HTTP.

``make serve`` (``python -m utils.serving``) starts it; `create_app` is the application for any
WSGI server. The chapter 19_flask begins with twenty lines of Flask, and shows what each part of
this is for by switching it off.

=============  =======================================================================
app            the factory: routes, limits, error handlers, hooks
routes         ``/predict``, ``/generate``, ``/detect``: image bytes, ``.npy`` or JSON; the page
v2             the Open Inference Protocol, so that existing clients work
schemas        what may come and what goes out (pydantic), and the OpenAPI document made of it
decode         bytes to arrays, suspiciously
problems       every error as ``application/problem+json``, naming field and remedy
engines        the models, each in ONNX Runtime, PyTorch, TensorFlow, Keras or LiteRT
batcher        waiting for company: several requests in one call of the model
registry       versions, SHA-256, warm-up, the swap that nobody notices
observe        metrics, logs, request ids, where the time went
lifecycle      waitress, its bounded queue, and a shutdown that answers what was accepted
=============  =======================================================================
"""

from utils.serving.app import create_app
from utils.serving.config import Config

__all__ = ["Config", "create_app"]
