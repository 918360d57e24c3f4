// The page: takes a photo or the camera's pictures, shows them with their points.

import {
  drawBox, drawPoints, regionColours, regionLegend, sigmaColours, sigmaLegend,
} from "./drawing.js";
import { loadNetwork } from "./network.js";
import { bounds, firstBox, median, nextBox, whole } from "./tracking.js";

const element = (id) => document.getElementById(id);
const canvas = element("picture");
const context = canvas.getContext("2d");
const source = document.createElement("canvas"); // the picture as it is, in its own pixels
const pixels = source.getContext("2d", { willReadFrequently: true });
const LARGEST_SHOWN = 1600;

let network;
let description;
let camera = null; // the video, while it runs
let box = null; // where the face is looked for; null: in the whole picture
let found = null; // {points, sigmas, box, ms}
let drag = null;

// ── what the page was built with: text in it, base64 of gzip ──

async function embedded(id) {
  const packed = Uint8Array.from(atob(element(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function start() {
  const [runtime, model, text] = await Promise.all(["runtime", "model", "description"].map(embedded));
  description = JSON.parse(new TextDecoder().decode(text));
  network = await loadNetwork(new Uint8Array(runtime), new Uint8Array(model), description);
  element("confidence").parentElement.hidden = !description.uncertainty;
  showLegend();
  const { width, height } = description;
  // The first time takes longest.
  await network.predict(new ImageData(width, height), { left: 0, top: 0, right: width, bottom: height });
  say(`Ready: ${description.points} points, network ${description.model}. Drop a photo here.`);
  document.body.dataset.state = "ready";
}

// ── finding ──

function picture() {
  return pixels.getImageData(0, 0, source.width, source.height);
}

async function find() {
  const shown = picture();
  const region = whole(box ?? { left: 0, top: 0, right: shown.width, bottom: shown.height });
  const started = performance.now();
  const { points, sigmas } = await network.predict(shown, region);
  found = { points, sigmas, box: region, ms: performance.now() - started };
  // For scripts on the page, tests among them.
  globalThis.landmarks = {
    ...found, points: [...points], sigmas: sigmas && [...sigmas], width: shown.width,
  };
}

async function showPhoto(file) {
  stopCamera();
  let bitmap;
  try {
    // As it is in the file, but turned as its camera was held: what Python reads.
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    return say(`${file.name} is not a picture that this browser can read.`);
  }
  takePicture(bitmap, bitmap.width, bitmap.height);
  box = null;
  await find();
  report(`${file.name}: ${found.ms.toFixed(0)} ms. Is the face small in it? Draw a box around it.`);
  paint();
}

function takePicture(image, width, height) {
  source.width = width;
  source.height = height;
  pixels.drawImage(image, 0, 0);
  document.body.classList.add("shows");
}

// ── camera ──

async function startCamera() {
  stopCamera();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
  } catch (error) {
    return say(`No camera: ${error.message}`);
  }
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = stream;
  await video.play();
  camera = video;
  box = null;
  document.body.classList.add("live");
  element("camera").textContent = "Stop camera";
  follow(video);
}

function stopCamera() {
  camera?.srcObject.getTracks().forEach((track) => track.stop());
  camera = null;
  document.body.classList.remove("live");
  element("camera").textContent = "Camera";
}

async function follow(video) {
  let last = performance.now();
  let rate = 0;
  let frames = 0;
  while (camera === video) {
    takePicture(video, video.videoWidth, video.videoHeight);
    box ??= firstBox(source, description);
    await find();
    if (camera !== video) return;
    const next = nextBox(found, source, description, box);
    if (!drag) box = next;
    const now = performance.now();
    rate += (1000 / (now - last) - rate) / Math.min(20, (frames += 1));
    last = now;
    globalThis.landmarks.frames = frames;
    report(
      `${rate.toFixed(0)} frames a second, ${found.ms.toFixed(0)} ms each. ` +
        (next ? "" : "Lost: put your face into the box."),
    );
    paint();
    await new Promise(requestAnimationFrame);
  }
}

// ── showing ──

function say(text) {
  element("status").textContent = text;
}

function report(text) {
  if (!found.sigmas) return say(text);
  const sigma = median(found.sigmas);
  const share = (100 * sigma) / bounds(found.points).size;
  say(`${text} A point is off by ±\u00a0${sigma.toFixed(1)}\u00a0px, ${share.toFixed(1)}\u00a0% of the face.`);
}

function zoomOf() {
  return Math.min(1, LARGEST_SHOWN / Math.max(source.width, source.height));
}

function paint() {
  // Small photos are enlarged: points would hide them.
  const zoom = Math.max(zoomOf(), Math.min(8, 480 / Math.max(source.width, source.height)));
  canvas.width = Math.round(source.width * zoom);
  canvas.height = Math.round(source.height * zoom);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  if (found && element("points").checked) {
    const { size } = bounds(found.points);
    const colours = byConfidence()
      ? sigmaColours(found.sigmas, size)
      : regionColours(description.points, description.regions);
    drawPoints(context, found.points, colours, zoom, size);
  }
  const shown = drag ? dragged() : camera || box ? found?.box : null;
  if (shown) drawBox(context, shown, zoom);
}

function byConfidence() {
  return description.uncertainty && element("confidence").checked;
}

function showLegend() {
  const items = (byConfidence() ? sigmaLegend() : regionLegend(description.regions)).map(
    ([words, colour]) => {
      const item = document.createElement("li");
      item.textContent = words;
      item.style.setProperty("--colour", colour);
      return item;
    },
  );
  element("legend").replaceChildren(...items);
}

// ── the box that the visitor draws ──

function place(event) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const share = (event.clientX - left) / width;
  return {
    x: (camera ? 1 - share : share) * source.width, // the camera is shown as in a mirror
    y: ((event.clientY - top) / height) * source.height,
  };
}

function dragged() {
  const [a, b] = [drag.from, drag.to];
  return whole({
    left: Math.min(a.x, b.x), top: Math.min(a.y, b.y),
    right: Math.max(a.x, b.x), bottom: Math.max(a.y, b.y),
  });
}

canvas.addEventListener("pointerdown", (event) => {
  if (!source.width) return;
  canvas.setPointerCapture(event.pointerId);
  drag = { from: place(event), to: place(event) };
});

canvas.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.to = place(event);
  if (!camera) paint();
});

canvas.addEventListener("pointerup", async (event) => {
  if (!drag) return;
  drag.to = place(event);
  const drawn = dragged();
  drag = null;
  const tooSmall = Math.min(drawn.right - drawn.left, drawn.bottom - drawn.top) < 8;
  box = tooSmall ? null : drawn; // a click: the whole picture again
  if (camera) return;
  await find();
  report(`${tooSmall ? "The whole picture" : "In the box"}: ${found.ms.toFixed(0)} ms.`);
  paint();
});

// ── the rest of the controls ──

element("camera").addEventListener("click", () => (camera ? stopCamera() : startCamera()));
element("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) showPhoto(target.files[0]);
  target.value = "";
});
element("points").addEventListener("change", () => source.width && paint());
element("confidence").addEventListener("change", () => {
  if (description) showLegend();
  if (source.width) paint();
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file && network) showPhoto(file);
});

element("save").addEventListener("click", () => {
  const rows = found.points.reduce((text, value, i) => text + value.toFixed(2) + "\t\n"[i % 2], "x\ty\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([rows], { type: "text/tab-separated-values" }));
  link.download = "landmarks.tsv";
  link.click();
  URL.revokeObjectURL(link.href);
});

start().catch((error) => say(`This page could not start: ${error.message}`));
