// The drawing pad: runs once, with `this` an image beside the canvas, when that image has loaded.
// It draws with mouse, finger, pen or keyboard, and writes the pixels as hexadecimal digits into
// the text area of the same control, from where ipywidgets carries them to the kernel.
const canvas = this.parentElement.querySelector("canvas");
const clear = this.parentElement.querySelector("button");
const area = this.closest(".cp-control").querySelector("textarea");
const size = canvas.width;
const context = canvas.getContext("2d");
const ink = new Float32Array(size * size); // 0 is black, 1 is white
const start = canvas.dataset.value;
for (let i = 0; i < ink.length; i++) ink[i] = parseInt(start.substr(2 * i, 2), 16) / 255;
let cursor = [size >> 1, size >> 1];
let last = null; // where the pen was, while it is down
let timer = null;

function show() {
  const picture = context.createImageData(size, size);
  for (let i = 0; i < ink.length; i++) {
    picture.data.fill(Math.round(255 * ink[i]), 4 * i, 4 * i + 3);
    picture.data[4 * i + 3] = 255;
  }
  if (document.activeElement === canvas && canvas.matches(":focus-visible")) {
    picture.data.set([230, 120, 0, 255], 4 * (cursor[1] * size + cursor[0]));
  }
  context.putImageData(picture, 0, 0);
}

function send() {
  timer = null;
  area.value = Array.from(ink, (v) => Math.round(255 * v).toString(16).padStart(2, "0")).join("");
  area.dispatchEvent(new Event("input", { bubbles: true }));
  area.dispatchEvent(new Event("change", { bubbles: true }));
}

function later() {
  show();
  if (timer === null) timer = setTimeout(send, 100); // at most ten pictures a second
}

function stroke(from, to) {
  // A pen about two and a half pixels wide with a soft edge, as MNIST's strokes are.
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const length = dx * dx + dy * dy;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      let t = length ? ((x - from[0]) * dx + (y - from[1]) * dy) / length : 0;
      t = Math.min(1, Math.max(0, t));
      const far = Math.hypot(x - from[0] - t * dx, y - from[1] - t * dy);
      ink[y * size + x] = Math.max(ink[y * size + x], Math.min(1, Math.max(0, 1.75 - far)));
    }
  }
  later();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) / box.width) * size - 0.5,
    ((event.clientY - box.top) / box.height) * size - 0.5,
  ];
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  last = place(event);
  stroke(last, last);
});
canvas.addEventListener("pointermove", (event) => {
  if (last === null) return;
  const now = place(event);
  stroke(last, now);
  last = now;
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => { last = null; });
}

const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  if (event.key in moves) {
    const next = cursor.map((at, i) => Math.min(size - 1, Math.max(0, at + moves[event.key][i])));
    if (event.shiftKey) stroke(cursor, next);
    cursor = next;
    show();
  } else if (event.key === " " || event.key === "Enter") {
    stroke(cursor, cursor);
  } else if (event.key === "Delete" || event.key === "Backspace") {
    wipe();
  } else {
    return; // Tab and everything else keep their meaning
  }
  event.preventDefault();
  event.stopPropagation(); // or the notebook would take the key for a command
});
canvas.addEventListener("focus", show);
canvas.addEventListener("blur", show);

function wipe() {
  ink.fill(0);
  later();
}
clear.addEventListener("click", wipe);
show();
this.remove(); // it has done its work
