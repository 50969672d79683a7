// The box pad: runs once, with `this` an image beside the canvas, when that image has loaded.
// Boxes are moved and resized with mouse, finger, pen or keyboard; their corners are written into
// the text area of the same control, from where ipywidgets carries them to the kernel.
const canvas = this.parentElement.querySelector("canvas");
const reset = this.parentElement.querySelector("button");
const area = this.closest(".cp-control").querySelector("textarea");
const { boxes: start, names, colours, width, height, png } = JSON.parse(canvas.dataset.value);
const ground = new Image(); // the picture beneath
const context = canvas.getContext("2d");
const least = Math.max(2, width / 48); // no side becomes shorter
const step = Math.max(1, Math.round(width / 96)); // of an arrow key
let boxes = start.map((box) => [...box]);
let active = 0;
let grip = null; // what the pointer holds, while it is down
let timer = null;

function show() {
  const scale = canvas.width / width;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.fillStyle = "#f4f4f4";
  context.fillRect(0, 0, width, height);
  if (ground.naturalWidth) {
    context.imageSmoothingEnabled = false;
    context.drawImage(ground, 0, 0, width, height);
  }
  const pixel = width / canvas.clientWidth; // of the screen, in units of the picture
  boxes.forEach(([left, top, right, bottom], i) => {
    const own = i === active && document.activeElement === canvas;
    for (const [colour, thick] of [["white", own ? 6 : 4], [colours[i], own ? 4 : 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = thick * pixel;
      context.strokeRect(left, top, right - left, bottom - top);
    }
    context.fillStyle = colours[i];
    for (const x of [left, right]) {
      for (const y of [top, bottom]) {
        context.fillRect(x - 4 * pixel, y - 4 * pixel, 8 * pixel, 8 * pixel);
      }
    }
    context.font = `bold ${14 * pixel}px sans-serif`;
    context.lineWidth = 3 * pixel;
    context.strokeStyle = "white";
    context.strokeText(names[i], left + 7 * pixel, top + 17 * pixel);
    context.fillText(names[i], left + 7 * pixel, top + 17 * pixel);
  });
}

function send() {
  timer = null;
  area.value = boxes.map((box) => box.map((side) => side.toFixed(1)).join(" ")).join("; ");
  area.dispatchEvent(new Event("input", { bubbles: true }));
  area.dispatchEvent(new Event("change", { bubbles: true }));
}

function later() {
  show();
  if (timer === null) timer = setTimeout(send, 80); // at most twelve pictures a second
}

const within = (value, low, high) => Math.min(high, Math.max(low, value));

function move(box, dx, dy) {
  dx = within(dx, -box[0], width - box[2]);
  dy = within(dy, -box[1], height - box[3]);
  return [box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy];
}

function resize(box, corner, x, y) {
  const [across, down] = corner; // 0 and 1, or 2 and 3: which of the box's sides follow
  const sides = [...box];
  sides[across] = across ? within(x, box[0] + least, width) : within(x, 0, box[2] - least);
  sides[down] = down > 1 ? within(y, box[1] + least, height) : within(y, 0, box[3] - least);
  return sides;
}

function place(event) {
  const frame = canvas.getBoundingClientRect();
  return [
    ((event.clientX - frame.left) / frame.width) * width,
    ((event.clientY - frame.top) / frame.height) * height,
  ];
}

function grasp(x, y, reach) {
  // The box in hand first, then the one on top.
  const order = [active, ...boxes.keys()].filter((n, i, all) => all.indexOf(n) === i);
  for (const n of order) {
    for (const across of [0, 2]) {
      for (const down of [1, 3]) {
        if (Math.hypot(boxes[n][across] - x, boxes[n][down] - y) <= reach) {
          return { box: n, corner: [across, down] };
        }
      }
    }
  }
  for (const n of order) {
    const [left, top, right, bottom] = boxes[n];
    if (left <= x && x <= right && top <= y && y <= bottom) {
      return { box: n, from: [x, y], was: [...boxes[n]] };
    }
  }
  return null;
}

canvas.addEventListener("pointerdown", (event) => {
  const [x, y] = place(event);
  const fingers = event.pointerType === "touch" ? 22 : 11; // pixels of the screen
  grip = grasp(x, y, (fingers * width) / canvas.clientWidth);
  if (grip === null) return;
  canvas.setPointerCapture(event.pointerId);
  active = grip.box;
  show();
});
canvas.addEventListener("pointermove", (event) => {
  if (grip === null) return;
  const [x, y] = place(event);
  boxes[grip.box] = grip.corner
    ? resize(boxes[grip.box], grip.corner, x, y)
    : move(grip.was, x - grip.from[0], y - grip.from[1]);
  later();
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => { grip = null; });
}

const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  if (event.key in moves) {
    const [dx, dy] = moves[event.key].map((way) => way * step);
    const box = boxes[active];
    boxes[active] = event.shiftKey
      ? resize(box, [2, 3], box[2] + dx, box[3] + dy)
      : move(box, dx, dy);
    later();
  } else if (event.key === " " || event.key === "Enter") {
    active = (active + 1) % boxes.length;
    show();
  } else {
    return; // Tab and everything else keep their meaning
  }
  event.preventDefault();
  event.stopPropagation(); // or the notebook would take the key for a command
});
canvas.addEventListener("focus", show);
canvas.addEventListener("blur", show);
reset.addEventListener("click", () => {
  boxes = start.map((box) => [...box]);
  later();
});
ground.addEventListener("load", show);
if (png) ground.src = "data:image/png;base64," + png;
show();
this.remove(); // it has done its work
