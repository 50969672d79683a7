"""The model server's page in a real browser: by mouse, by keyboard, on a phone, no network."""

import io
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from accessibility import violations
from course_lab import PATIENCE, until
from PIL import Image

from utils import data
from utils.cluster import Cluster


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Cluster("the model server") as cluster:
        command = [sys.executable, "-m", "utils.serving", "--port", "0", "--quiet"]
        process = cluster.start("server", command)
        cluster.until(lambda: "Serving on" in process.text, 120)
        yield re.search(r"http://\S+", process.text).group()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.complaints, page.asked = [], []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("body[data-state=ready]")
    yield page
    assert page.complaints == []
    assert all(url.startswith((address, "data:", "blob:")) for url in page.asked)
    context.close()


def test_a_digit_is_drawn_by_mouse_and_read(page: Any) -> None:
    box = page.locator("#pad").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"]
    page.mouse.move(x, y + 0.15 * box["height"])
    page.mouse.down()
    for share in (0.3, 0.5, 0.7, 0.85):  # a 1
        page.mouse.move(x, y + share * box["height"])
    page.mouse.up()
    label = page.locator("#label")
    until(label.inner_text, "1".__eq__, PATIENCE, "a 1")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.click("#clear")
    until(label.inner_text, "–".__eq__, PATIENCE, "an empty pad")


def test_a_digit_is_drawn_by_keyboard_and_read(page: Any) -> None:
    page.focus("#pad")
    for _ in range(7):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    for _ in range(14):
        page.keyboard.press("ArrowDown")
    until(page.locator("#label").inner_text, "1".__eq__, PATIENCE, "a 1")
    page.keyboard.press("Delete")
    until(page.locator("#label").inner_text, "–".__eq__, PATIENCE, "an empty pad")


_INK = "document.getElementById('made').getContext('2d').getImageData(0, 0, 28, 28).data.join()"


def test_a_slider_moves_the_generated_digit(page: Any) -> None:
    first = until(lambda: page.evaluate(_INK), lambda ink: "255" in ink, PATIENCE, "a digit")
    page.focus("#z0")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    until(lambda: page.evaluate(_INK) != first, bool, PATIENCE, "another digit")
    until(page.locator("#z0-value").inner_text, "1.0".__eq__, PATIENCE, "the slider's number")


def test_the_number_does_not_wait_for_the_server(page: Any) -> None:
    first = until(lambda: page.evaluate(_INK), lambda ink: "255" in ink, PATIENCE, "a digit")
    held: list[Any] = []
    page.route("**/generate", lambda route: held.append(route))  # the server takes its time
    page.focus("#z1")
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    number = page.locator("#z1-value").inner_text
    until(number, "-1.0".__eq__, PATIENCE, "the slider's number")
    assert page.evaluate(_INK) == first
    until(lambda: (page.wait_for_timeout(50), len(held))[1], bool, PATIENCE, "a question")
    held[0].continue_()
    page.unroute("**/generate")
    until(lambda: page.evaluate(_INK) != first, bool, PATIENCE, "another digit")


def test_asked_by_hand_it_answers_and_refuses_in_words(page: Any) -> None:
    answer = page.locator("#answer")
    page.select_option("#route", "POST /generate")
    page.click("#send")
    until(answer.inner_text, lambda words: words.startswith("200"), PATIENCE, "an answer")
    page.fill("#request", '{"latents": [[0]]}')
    page.click("#send")
    until(answer.inner_text, lambda words: words.startswith("422"), PATIENCE, "a refusal")
    assert "latents.0" in answer.inner_text()
    # The browser's own line about the 422 comes when it likes.
    until(lambda: (page.wait_for_timeout(20), len(page.complaints))[1], bool, PATIENCE, "a line")
    page.complaints.clear()


def test_a_digit_is_drawn_by_touch(page: Any) -> None:
    box = page.locator("#pad").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    until(page.locator("#label").inner_text, str.isdigit, PATIENCE, "a digit")


_DROP = """bytes => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
  const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(event);
}"""


def test_a_picture_is_dropped_and_its_digits_are_found(page: Any) -> None:
    scene, stream = data.scenes(1, 1), io.BytesIO()
    Image.fromarray(scene.x_test[0]).save(stream, "PNG")
    page.evaluate(_DROP, list(stream.getvalue()))
    words = until(page.locator("#found").inner_text, bool, PATIENCE, "what was found")
    found = {line.split()[0] for line in words.split(", ")}
    there = {scene.class_names[label] for label in scene.t_test[0].labels}
    assert len(there - found) <= 1, (words, there)  # it may miss one, or see one too many


def test_what_is_not_served_is_not_shown(page: Any) -> None:
    def without(route: Any) -> None:
        models = route.fetch().json()["models"]
        route.fulfill(json={"models": {"digits": models["digits"]}})

    page.route("**/models", without)
    page.reload()
    page.wait_for_selector("body[data-state=ready]")
    assert page.locator("#digits").is_visible()
    assert page.locator("#detector").is_hidden() and page.locator("#generator").is_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_is_accessible(page: Any, theme: str) -> None:
    page.emulate_media(color_scheme=theme)
    # What the browser paints behind such a page. axe would take white for it, in the dark as well.
    page.evaluate("document.documentElement.style.backgroundColor = 'Canvas'")
    page.click("#clear")
    found, checked = violations(page)
    assert found == [], "\n".join(found)
    assert {"color-contrast", "label", "landmark-one-main", "html-has-lang"} <= checked
