// The page: takes a photo or the camera's pictures, shows them with their points.

import {
  drawBox, drawPoints, regionColours, regionLegend, sigmaColours, sigmaLegend,
} from "./drawing.js";
import { findAnywhere, LIMIT, look, lookCloser } from "./finding.js";
import { loadNetwork } from "./network.js";
import { bounds, median, nextBox, searchBoxes, whole } from "./tracking.js";

const element = (id) => document.getElementById(id);
const canvas = element("picture");
const context = canvas.getContext("2d");
const source = document.createElement("canvas"); // the picture as it is, in its own pixels
const pixels = source.getContext("2d", { willReadFrequently: true });
const LARGEST_SHOWN = 1600;
const SIZES = [0.95, 0.6]; // of the camera's picture: boxes that are searched for a face
const CLICK = 8; // of the screen's pixels, the least that is no click

let network;
let description;
let camera = null; // the video, while it runs
let box = null; // where the face is looked for; null: anywhere
let looked = null; // the box that is shown: where it was looked for
let found = null; // {points, sigmas}, if it may be a face
let name = ""; // of the photo
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
  await network.predict(pixels, { left: 0, top: 0, right: width, bottom: height });
  say(`Ready: ${description.points} points, network ${description.model}.`);
  document.body.dataset.state = "ready";
}

const ready = start();
ready.catch((error) => say(`This page could not start: ${error.message}`));

// ── the stage: one photo, or the camera ──

let asked = 0; // what the visitor asks for is numbered, as it may take long until it is there
let onStage = 0;

// Clears the stage for what was asked for, unless something asked for later has it.
function takeStage(request) {
  if (request < onStage) return false;
  onStage = request;
  endCamera();
  box = looked = found = drag = null;
  quietUntil = 0;
  return true;
}

function takePicture(image, width, height) {
  source.width = width;
  source.height = height;
  pixels.drawImage(image, 0, 0);
  document.body.classList.add("shows");
}

// Takes what was seen as the face that is looked for, if it may be one.
function take(seen, isFace, more) {
  found = isFace ? seen : null;
  looked = isFace || camera ? seen.box : box;
  // For scripts on the page, tests among them.
  const { points, sigmas } = seen;
  globalThis.landmarks = {
    ...seen, points: [...points], sigmas: sigmas && [...sigmas], width: source.width, isFace, ...more,
  };
}

// ── photos ──

async function showPhoto(file) {
  const request = (asked += 1);
  await ready;
  say(`Reading ${file.name} …`);
  let bitmap;
  try {
    // As it is in the file, but turned as its camera was held: what Python reads.
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    return say(`${file.name} is not a picture that this browser can read.`);
  }
  if (takeStage(request)) {
    takePicture(bitmap, bitmap.width, bitmap.height);
    name = file.name;
    findInPhoto();
  }
  bitmap.close();
}

async function findInPhoto() {
  const [request, drawn] = [onStage, box];
  const wanted = () => onStage === request && box === drawn;
  found = null;
  looked = box;
  paint();
  say(`${name}: looking for a face …`);
  await painted();
  const started = performance.now();
  const seen = box
    ? await lookCloser(network, pixels, box)
    : await findAnywhere(network, pixels, wanted);
  if (!wanted()) return;
  take(seen, seen.doubt < LIMIT);
  paint();
  const ms = (performance.now() - started).toFixed(0);
  if (found) return say(`${name}: ${ms} ms.${likelyError()} Another face? Draw a box around it.`);
  const where = box ? "the box" : "the whole photo";
  say(`${name}: no face found in ${where}. Draw a box around one, with room around it.`);
}

// Until the browser has shown what there is: the work that follows leaves it no time.
const painted = () => new Promise((resume) => requestAnimationFrame(() => setTimeout(resume)));

// ── camera ──

async function startCamera() {
  const request = (asked += 1);
  await ready;
  say("Asking for the camera …");
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    if (request < onStage) return end(video);
    await video.play();
  } catch (error) {
    end(video);
    return request > onStage && say(whyNoCamera(error));
  }
  if (!takeStage(request)) return end(video);
  camera = video;
  name = "camera";
  document.body.classList.add("live");
  element("camera").textContent = "Stop camera";
  const gone = () => camera === video && stopCamera("The camera has gone. Is it still plugged in?");
  video.srcObject.getVideoTracks()[0].addEventListener("ended", gone);
  follow(video);
}

function whyNoCamera(error) {
  if (!navigator.mediaDevices) {
    return "Browsers give the camera only to pages from https, localhost or disk.";
  }
  if (error.name !== "NotAllowedError") return `No camera: ${error.message}`;
  return "The camera is not allowed here. Allow it by the sign beside this page's address, then try again.";
}

function stopCamera(words) {
  onStage = asked += 1;
  endCamera();
  say(words);
}

function endCamera() {
  if (camera) end(camera);
  camera = null;
  document.body.classList.remove("live");
  element("camera").textContent = "Camera";
}

function end(video) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
}

async function follow(video) {
  let last = performance.now();
  let place = null; // where the face was last
  let tried = 0; // so many places since
  const mean = { frame: 0, network: 0 }; // ms
  for (let frames = 1; camera === video; frames++) {
    takePicture(video, video.videoWidth, video.videoHeight);
    const wanted = box;
    const places = [...(place ? [place] : []), ...searchBoxes(source, description, SIZES)];
    const at = wanted ?? places[tried % places.length];
    const started = performance.now();
    // A box beside a lost face leads to it: points of half a face lie nearer to the whole one.
    const seen = await (wanted ? look : lookCloser)(network, pixels, at);
    if (camera !== video) return;
    const now = performance.now();
    const share = 1 / Math.min(20, frames);
    mean.network += share * (now - started - mean.network);
    mean.frame += share * (now - last - mean.frame);
    last = now;
    const next = seen.doubt < LIMIT ? nextBox(seen.points, source, description, seen.box) : null;
    place = next ?? place;
    tried = wanted ? 0 : tried + 1;
    if (!drag && box === wanted) box = next; // else the visitor draws another, or has drawn it
    take(seen, next !== null, { frames });
    sayFigures(mean);
    paint();
    await new Promise(requestAnimationFrame);
  }
}

function sayFigures(mean) {
  if (performance.now() < quietUntil) return;
  const rate = (1000 / mean.frame).toFixed(0);
  const parts = `${mean.frame.toFixed(0)} ms each, of that ${mean.network.toFixed(0)} ms the network`;
  const more = found ? likelyError() : " Lost: looking for a face, here and there.";
  say(`${rate} frames a second: ${parts}.${more}`, 500);
}

// ── showing ──

// The camera's figures leave words alone for a while.
let quietUntil = 0;

function say(text, quietMs = 5000) {
  element("status").textContent = text;
  quietUntil = performance.now() + quietMs;
}

function likelyError() {
  if (!found.sigmas) return "";
  const sigma = median(found.sigmas);
  const share = (100 * sigma) / bounds(found.points).size;
  const off = `±\u00a0${sigma.toFixed(1)}\u00a0px, ${share.toFixed(1)}\u00a0% of the face`;
  return ` Likely error of a point, by the model's own word: ${off}.`;
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
  const shown = drag ? dragged() : looked;
  if (shown) drawBox(context, shown, zoom);
  element("save").disabled = !found;
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
  canvas.setPointerCapture(event.pointerId);
  drag = { from: place(event), to: place(event), start: event };
});

canvas.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.to = place(event);
  if (!camera) paint();
});

canvas.addEventListener("pointerup", (event) => {
  if (!drag) return;
  drag.to = place(event);
  const drawn = dragged();
  const { clientX, clientY } = drag.start;
  const sides = [Math.abs(event.clientX - clientX), Math.abs(event.clientY - clientY)];
  drag = null;
  const isClick = Math.max(...sides) < CLICK;
  // What is long in one way alone is neither: a finger that wanted to scroll.
  if (!isClick && Math.min(...sides) < CLICK) return paint();
  box = isClick ? null : drawn;
  if (!camera) findInPhoto();
});

canvas.addEventListener("pointercancel", () => {
  drag = null;
  if (!camera) paint();
});

// ── the rest of the controls ──

element("camera").addEventListener("click", () =>
  camera ? stopCamera("Camera stopped.") : startCamera(),
);
element("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) showPhoto(target.files[0]);
  target.value = "";
});
element("points").addEventListener("change", paint);
element("confidence").addEventListener("change", () => {
  showLegend();
  paint();
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) showPhoto(file);
});
addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) showPhoto(file);
});

// A line a point: its number, region, place and, where the model tells it, standard deviation.
function table({ points, sigmas }) {
  const regions = new Array(description.points).fill("");
  for (const [region, [first, last]] of Object.entries(description.regions)) {
    regions.fill(region, first, last + 1);
  }
  const rows = regions.map((region, i) => {
    const values = [points[2 * i], points[2 * i + 1], ...(sigmas ? [sigmas[i]] : [])];
    return [i, region, ...values.map((value) => value.toFixed(2))];
  });
  const header = ["point", "region", "x", "y", ...(sigmas ? ["deviation"] : [])];
  return [header, ...rows].map((row) => row.join("\t") + "\n").join("");
}

element("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table(found)], { type: "text/tab-separated-values" }));
  link.download = `${name.replace(/\.[^.]*$/, "")}.tsv`;
  link.click();
  URL.revokeObjectURL(link.href);
});
