"use strict";
const $ = (id) => document.getElementById(id);

// Ask the server; an answer that is a problem document becomes an error with its words.
async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
    throw new Error(problem.detail);
  }
  return answer;
}

const post = (path, body, type = "application/json") =>
  ask(path, { method: "POST", headers: { "Content-Type": type }, body });

// One question at a time; while it is under way only the latest of the next ones is kept.
function latest(work) {
  let running = false, again = false;
  return async function run() {
    if (running) { again = true; return; }
    running = true;
    do {
      again = false;
      try { await work(); say(""); } catch (error) { say(error.message); }
    } while (again);
    running = false;
  };
}

function say(words) {
  $("state").textContent = words || ready;
}
let ready = "";

// --- Draw a digit ---
const pad = $("pad"), ink = pad.getContext("2d", { willReadFrequently: true });
const cursor = { x: 140, y: 140, down: false };
let strokes = 0, before = null;

function clear() {
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, 280, 280);
  strokes = 0;
  show(null);
}

function line(x0, y0, x1, y1) {
  ink.strokeStyle = "#fff";
  ink.lineWidth = 22;
  ink.lineCap = ink.lineJoin = "round";
  ink.beginPath();
  ink.moveTo(x0, y0);
  ink.lineTo(x1, y1);
  ink.stroke();
  strokes += 1;
  read();
}

function place(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) * 280 / box.width, (event.clientY - box.top) * 280 / box.height];
}

// MNIST's digits are 20 pixels high, in the middle by their weight: so is what we send.
function digit() {
  const data = ink.getImageData(0, 0, 280, 280).data;
  let [x0, y0, x1, y1] = [280, 280, -1, -1];
  for (let y = 0; y < 280; y++) for (let x = 0; x < 280; x++) if (data[4 * (280 * y + x)] > 40) {
    x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
  }
  const scale = 20 / Math.max(x1 - x0 + 1, y1 - y0 + 1);
  const small = document.createElement("canvas");
  small.width = small.height = 28;
  const ink2 = small.getContext("2d");
  ink2.imageSmoothingQuality = "high";
  const centred = (dx, dy) => {
    ink2.fillStyle = "#000";
    ink2.fillRect(0, 0, 28, 28);
    ink2.drawImage(pad, x0, y0, x1 - x0 + 1, y1 - y0 + 1,
      14 - scale * (x1 - x0 + 1) / 2 + dx, 14 - scale * (y1 - y0 + 1) / 2 + dy,
      scale * (x1 - x0 + 1), scale * (y1 - y0 + 1));
  };
  centred(0, 0);
  let [mass, mx, my] = [0, 0, 0];
  ink2.getImageData(0, 0, 28, 28).data.forEach((v, i) => {
    if (i % 4 === 0) { mass += v; mx += v * ((i / 4) % 28); my += v * Math.floor(i / 112); }
  });
  centred(Math.round(13.5 - mx / mass), Math.round(13.5 - my / mass));
  return new Promise((done) => small.toBlob(done, "image/png"));
}

const read = latest(async () => {
  if (!strokes) return show(null);
  const answer = await (await post("predict", await digit(), "image/png")).json();
  if (strokes) show(answer.predictions[0]);
});

function show(prediction) {
  $("label").textContent = prediction ? prediction.label : "–";
  document.querySelectorAll("#bars tr").forEach((row, i) => {
    const p = prediction ? prediction.probabilities[i] : 0;
    row.querySelector("progress").value = p;
    row.lastChild.textContent = (100 * p).toFixed(1) + " %";
  });
}

function startDigits() {
  for (let i = 0; i < 10; i++) {
    const row = $("bars").tBodies[0].insertRow();
    row.innerHTML = `<th scope="row">${i}</th><td><progress max="1" value="0"></progress></td><td>0.0 %</td>`;
    row.querySelector("progress").setAttribute("aria-label", `probability of ${i}`);
  }
  clear();
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    before = place(event);
    line(...before, ...before);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!before) return;
    const now = place(event);
    line(...before, ...now);
    before = now;
  });
  for (const kind of ["pointerup", "pointercancel"]) pad.addEventListener(kind, () => { before = null; });
  pad.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-14, 0], ArrowRight: [14, 0], ArrowUp: [0, -14], ArrowDown: [0, 14] }[event.key];
    if (step) {
      const [x, y] = [cursor.x, cursor.y];
      cursor.x = Math.min(266, Math.max(14, x + step[0]));
      cursor.y = Math.min(266, Math.max(14, y + step[1]));
      if (cursor.down || event.shiftKey) line(x, y, cursor.x, cursor.y);
    } else if (event.key === " ") {
      cursor.down = !cursor.down;
      if (cursor.down) line(cursor.x, cursor.y, cursor.x, cursor.y);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      cursor.x = cursor.y = 140;
      cursor.down = false;
      clear();
    } else return;
    event.preventDefault();
  });
  $("clear").addEventListener("click", clear);
}

// --- Make a digit ---
const latents = () => ["z0", "z1"].map((id) => Number($(id).value));

// The numbers follow the sliders at once; the digit follows when the server has answered.
function number() {
  latents().forEach((value, i) => { $(`z${i}-value`).textContent = value.toFixed(1); });
}

const make = latest(async () => {
  const z = latents();
  const { images } = await (await post("generate", JSON.stringify({ latents: [z] }))).json();
  const ink = $("made").getContext("2d"), picture = ink.createImageData(28, 28);
  images[0].flat().forEach((v, i) => { picture.data.set([v, v, v, 255], 4 * i); });
  ink.putImageData(picture, 0, 0);
});

// --- Find things ---
let picture = null, boxes = [];
const COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"];

function paint() {
  const canvas = $("scene"), ink = canvas.getContext("2d"), least = Number($("least").value);
  $("least-value").textContent = least.toFixed(2);
  if (!picture) return;
  [canvas.width, canvas.height] = [picture.width, picture.height];
  ink.drawImage(picture, 0, 0);
  const kept = boxes.filter((box) => box.score >= least);
  ink.lineWidth = Math.max(1, picture.width / 200);
  ink.font = `${Math.max(8, picture.width / 25)}px sans-serif`;
  for (const box of kept) {
    ink.strokeStyle = ink.fillStyle = COLOURS[box.label % COLOURS.length];
    ink.strokeRect(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0);
    ink.fillText(`${box.label}`, box.x0 + 1, Math.max(8, box.y0 - 1));
  }
  $("found").textContent = kept.length
    ? kept.map((box) => `${box.label} (${box.score.toFixed(2)})`).join(", ") : "Nothing found.";
}

async function look(file) {
  try {
    picture = await createImageBitmap(file);
    boxes = (await (await post("detect", file, file.type)).json()).boxes;
    paint();
  } catch (error) { $("found").textContent = error.message; }
}

function startDetector() {
  const drop = $("drop");
  $("file").addEventListener("change", (event) => event.target.files[0] && look(event.target.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) look(event.dataTransfer.files[0]);
  });
  $("least").addEventListener("input", paint);
}

// --- Ask by hand ---
const EXAMPLES = {
  "/generate": () => ({ latents: [[0, 1]] }),
  "/predict": () => ({ images: [Array.from({ length: 28 }, () => Array(28).fill(0))] }),
  infer: () => ({ inputs: [{ name: "latents", shape: [1, 2], datatype: "FP32", data: [0, 1] }] }),
};

async function startApi() {
  const { paths } = await (await ask("openapi.json")).json();
  for (const path of Object.keys(paths)) for (const method of Object.keys(paths[path])) {
    const option = document.createElement("option");
    option.value = option.textContent = `${method.toUpperCase()} ${path.replace("{model}", "generator").replace("{version}", "1")}`;
    $("route").append(option);
  }
  $("route").addEventListener("change", () => {
    const path = $("route").value.split(" ")[1];
    const example = EXAMPLES[path] || (path.endsWith("/infer") ? EXAMPLES.infer : null);
    $("request").value = example ? JSON.stringify(example()) : "";
    $("request").disabled = $("route").value.startsWith("GET");
  });
  $("route").dispatchEvent(new Event("change"));
  $("send").addEventListener("click", async () => {
    const [method, path] = $("route").value.split(" ");
    const options = method === "GET" ? {} : {
      method, headers: { "Content-Type": "application/json" }, body: $("request").value,
    };
    try {
      const answer = await fetch(path, options), text = await answer.text();
      $("answer").textContent = `${answer.status} ${answer.statusText}\n${text.slice(0, 4000)}`;
    } catch (error) { $("answer").textContent = error.message; }
  });
}

async function start() {
  try {
    const { models } = await (await ask("models")).json();
    for (const [name, versions] of Object.entries(models)) {
      const newest = versions[versions.length - 1];
      ready += `${ready && ", "}${name} (version ${newest.version}, ${newest.engine})`;
      if ($(name)) $(name).hidden = false;
    }
    ready = `Ready: ${ready}.`;
    say("");
    if (models.digits) startDigits();
    if (models.generator) {
      ["z0", "z1"].forEach((id) => $(id).addEventListener("input", () => { number(); make(); }));
      number();
      make();
    }
    if (models.detector) startDetector();
    await startApi();
    document.body.dataset.state = "ready";
  } catch (error) { $("state").textContent = `The server does not answer: ${error.message}`; }
}
start();
