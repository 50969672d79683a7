"""The server against its own OpenAPI document: what it promises is what it does, in process."""

import io

import hypothesis
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from PIL import Image
from schemathesis.generation import GenerationMode

from utils.serving import schemas
from utils.serving.problems import TYPE

EXAMPLES = 10


def _picture(kind):
    def paint(seed):
        stream = io.BytesIO()
        grey = np.random.default_rng(seed).integers(0, 256, (28, 28)).astype("uint8")
        Image.fromarray(grey).save(stream, kind) if kind else np.save(stream, grey)
        return stream.getvalue()

    return st.integers(0, 99).map(paint)


schemathesis.openapi.media_type("image/png", _picture("PNG"))
schemathesis.openapi.media_type("image/jpeg", _picture("JPEG"))
schemathesis.openapi.media_type("application/x-npy", _picture(None))
BOTH = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.mark.parametrize("mode", BOTH, ids=lambda mode: mode.value)
def test_every_answer_is_as_promised(make_app, mode):
    """What the schemas allow is answered, what they do not allow is refused, each as documented."""
    api = schemathesis.openapi.from_wsgi("/openapi.json", make_app())
    operations = [result.ok() for result in api.get_all_operations()]
    tried = 0
    for operation in operations:
        if mode == GenerationMode.NEGATIVE and not operation.body:
            continue  # a name is any text: nothing in it can be wrong

        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def ask(case):
            nonlocal tried
            tried += 1
            answer = case.call()
            if answer.status_code == 504 and "X-Deadline-Ms" in case.headers:
                return  # a millisecond may be too short on a busy machine, and it says so
            assert answer.status_code < 500, answer.text
            left_out = []
            if case.path.endswith("/infer"):  # that numbers fill a shape, no schema can say
                left_out = [schemathesis.checks.positive_data_acceptance]
            case.validate_response(answer, excluded_checks=left_out)

        ask()
    assert tried >= 4 * EXAMPLES


def test_the_document_says_what_the_application_has(make_app):
    """Every route is in it, and nothing else; every refusal is a problem document."""
    app = make_app()
    paths = app.document()["paths"]
    rules = {
        rule.rule.replace("<", "{").replace(">", "}"): rule.methods - {"HEAD", "OPTIONS"}
        for rule in app.url_map.iter_rules()
    }
    pages = {"/", "/page.js", "/page.css", "/openapi.json"}
    if "detector" not in app.models.models():
        pages.add("/detect")
    assert set(rules) - pages == set(paths)
    for path, operations in paths.items():
        assert {method.upper() for method in operations} == rules[path]
        for operation in operations.values():
            for code, answer in operation["responses"].items():
                assert code == "200" or list(answer["content"]) == [TYPE]


def test_the_document_knows_the_limits_of_this_server(make_app):
    components = make_app(items=3).document()["components"]["schemas"]
    assert components["Predict"]["properties"]["images"]["maxItems"] == 3
    assert schemas.Predict.model_json_schema()["properties"]["images"]["maxItems"] == 64
