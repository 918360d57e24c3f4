// The page: shows a photo or the camera's pictures with their points.
//
// One picture is shown at a time, with the box that the network looked at and the face found in it.

import {
  drawBox, drawPoints, regionColours, regionLegend, sigmaColours, sigmaLegend,
} from "./drawing.js";
import { loadNetwork } from "./network.js";
import { evaluateBox, findFace, MAX_DOUBT, refineBox } from "./search.js";
import { bounds, median, nextBox, rounded, searchBoxes } from "./tracking.js";

const element = (id) => document.getElementById(id);
const canvas = element("picture");
const context = canvas.getContext("2d");
const source = document.createElement("canvas"); // the picture in its own pixels
const pixels = source.getContext("2d", { willReadFrequently: true });
const MAX_SHOWN = 1600; // px, longer side of the picture as shown
const BOX_SIZES = [0.95, 0.6]; // of the boxes to search, as shares of the camera's picture
const MIN_DRAG = 8; // CSS px; less is a click

let network;
let description;
let camera = null; // the video element, while it runs
let box = null; // in which to look for the face; null for the whole picture
let shownBox = null; // in which the network has looked
let face = null; // {points, sigmas} if a face was found
let name = ""; // of the photo
let drag = null; // {from, to, start} while the visitor draws a box

// ── start: data embedded by build.mjs, gzip in base64 ──

async function decodeEmbedded(id) {
  const packed = Uint8Array.from(atob(element(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function start() {
  const ids = ["runtime", "model", "description"];
  const [runtime, model, text] = await Promise.all(ids.map(decodeEmbedded));
  description = JSON.parse(new TextDecoder().decode(text));
  network = await loadNetwork(new Uint8Array(runtime), new Uint8Array(model), description);
  element("confidence").parentElement.hidden = !description.uncertainty;
  showLegend();
  const { width, height } = description;
  // Warm up: the first prediction takes longest.
  await network.predict(pixels, { left: 0, top: 0, right: width, bottom: height });
  say(`Ready: ${description.points} points, network ${description.model}.`);
  document.body.dataset.state = "ready";
}

const ready = start();
ready.catch((error) => say(`This page could not start: ${error.message}`));

// ── what is shown: one photo, or the camera ──

// Opening a photo or the camera may take long, so requests are numbered, and the latest one wins.
let numRequests = 0;
let shownRequest = 0;

// Clears the page for a request; returns false if a later one is shown already.
function beginShowing(request) {
  if (request < shownRequest) return false;
  shownRequest = request;
  closeCamera();
  box = shownBox = face = drag = null;
  quietUntil = 0;
  return true;
}

function setPicture(image, width, height) {
  source.width = width;
  source.height = height;
  pixels.drawImage(image, 0, 0);
  document.body.classList.add("shows");
}

// Sets the network's result for the picture.
function setResult(result, isFace, more) {
  face = isFace ? result : null;
  shownBox = isFace || camera ? result.box : box;
  // For scripts, for instance tests.
  globalThis.landmarks = {
    ...result,
    points: [...result.points],
    sigmas: result.sigmas && [...result.sigmas],
    width: source.width,
    isFace,
    ...more,
  };
}

// ── photos ──

async function showPhoto(file) {
  const request = (numRequests += 1);
  await ready;
  say(`Reading ${file.name} …`);
  let bitmap;
  try {
    // Without colour management, but rotated as EXIF says: the pixels that Python reads.
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    return say(`${file.name} is not a picture that this browser can read.`);
  }
  if (beginShowing(request)) {
    setPicture(bitmap, bitmap.width, bitmap.height);
    name = file.name;
    findInPhoto();
  }
  bitmap.close();
}

async function findInPhoto() {
  const [request, drawnBox] = [shownRequest, box];
  const isCurrent = () => shownRequest === request && box === drawnBox;
  face = null;
  shownBox = box;
  paint();
  say(`${name}: looking for a face …`);
  await nextPaint();
  const started = performance.now();
  const result = box
    ? await refineBox(network, pixels, box)
    : await findFace(network, pixels, isCurrent);
  if (!isCurrent()) return;
  setResult(result, result.doubt < MAX_DOUBT);
  paint();
  const ms = (performance.now() - started).toFixed(0);
  if (face) return say(`${name}: ${ms} ms.${likelyError()} Draw a box to choose another face.`);
  const where = box ? "the box" : "the whole photo";
  say(`${name}: no face found in ${where}. Draw a box around one, leaving some room.`);
}

// Waits until the browser has painted, because the work that follows blocks it.
const nextPaint = () => new Promise((resume) => requestAnimationFrame(() => setTimeout(resume)));

// ── camera ──

async function startCamera() {
  const request = (numRequests += 1);
  await ready;
  say("Asking for the camera …");
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    if (request < shownRequest) return stopTracks(video);
    await video.play();
  } catch (error) {
    stopTracks(video);
    return request > shownRequest && say(cameraError(error));
  }
  if (!beginShowing(request)) return stopTracks(video);
  camera = video;
  name = "camera";
  document.body.classList.add("live");
  element("camera").textContent = "Stop camera";
  const disconnect = () => camera === video && stopCamera("The camera was disconnected.");
  video.srcObject.getVideoTracks()[0].addEventListener("ended", disconnect);
  follow(video);
}

function cameraError(error) {
  if (!navigator.mediaDevices) {
    return "Browsers allow the camera only on pages from https, localhost or disk.";
  }
  if (error.name !== "NotAllowedError") return `No camera: ${error.message}`;
  return "The camera is blocked. Allow it beside this page's address, then try again.";
}

function stopCamera(text) {
  shownRequest = numRequests += 1;
  closeCamera();
  say(text);
}

function closeCamera() {
  if (camera) stopTracks(camera);
  camera = null;
  document.body.classList.remove("live");
  element("camera").textContent = "Camera";
}

function stopTracks(video) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
}

// Finds the face in one picture after the other, while the camera runs.
async function follow(video) {
  let last = performance.now();
  let lastFaceBox = null; // the box that a face was last found in
  let numSearched = 0; // boxes since then
  const mean = { frame: 0, network: 0 }; // ms, moving averages
  for (let frames = 1; camera === video; frames++) {
    setPicture(video, video.videoWidth, video.videoHeight);
    const givenBox = box;
    const boxes = [
      ...(lastFaceBox ? [lastFaceBox] : []),
      ...searchBoxes(source, description, BOX_SIZES),
    ];
    const started = performance.now();
    // A box that shows part of a face leads to the whole face, so boxes are refined in a search.
    const result = givenBox
      ? await evaluateBox(network, pixels, givenBox)
      : await refineBox(network, pixels, boxes[numSearched % boxes.length]);
    if (camera !== video) return;
    const now = performance.now();
    const weight = 1 / Math.min(20, frames);
    mean.network += weight * (now - started - mean.network);
    mean.frame += weight * (now - last - mean.frame);
    last = now;
    const isFace = result.doubt < MAX_DOUBT;
    const next = isFace ? nextBox(result.points, source, description, result.box) : null;
    lastFaceBox = next ?? lastFaceBox;
    numSearched = givenBox ? 0 : numSearched + 1;
    // Otherwise the visitor draws a box, or has drawn one in the meantime.
    if (!drag && box === givenBox) box = next;
    setResult(result, next !== null, { frames });
    sayRates(mean);
    paint();
    await new Promise(requestAnimationFrame);
  }
}

function sayRates(mean) {
  if (performance.now() < quietUntil) return;
  const rate = (1000 / mean.frame).toFixed(0);
  const [frame, network] = [mean.frame, mean.network].map((ms) => ms.toFixed(0));
  const more = face ? likelyError() : " Lost the face: searching for it.";
  const times = `${frame} ms each, of which ${network} ms in the network`;
  say(`${rate} frames per second: ${times}.${more}`, 500);
}

// ── status and picture ──

// Until then the camera's rates do not replace the status.
let quietUntil = 0;

function say(text, quietMs = 5000) {
  element("status").textContent = text;
  quietUntil = performance.now() + quietMs;
}

function likelyError() {
  if (!face.sigmas) return "";
  const sigma = median(face.sigmas);
  const share = (100 * sigma) / bounds(face.points).size;
  const error = `±\u00a0${sigma.toFixed(1)}\u00a0px, ${share.toFixed(1)}\u00a0% of the face`;
  return ` Likely error of a point, by the model's own estimate: ${error}.`;
}

function paint() {
  // Small photos are enlarged, because the points would hide them.
  const longer = Math.max(source.width, source.height);
  const zoom = Math.max(Math.min(1, MAX_SHOWN / longer), Math.min(8, 480 / longer));
  canvas.width = Math.round(source.width * zoom);
  canvas.height = Math.round(source.height * zoom);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  if (face && element("points").checked) {
    const { size } = bounds(face.points);
    const colours = byConfidence()
      ? sigmaColours(face.sigmas, size)
      : regionColours(description.points, description.regions);
    drawPoints(context, face.points, colours, zoom, size);
  }
  const outline = drag ? dragged() : shownBox;
  if (outline) drawBox(context, outline, zoom);
  element("save").disabled = !face;
}

function byConfidence() {
  return description.uncertainty && element("confidence").checked;
}

function showLegend() {
  const items = (byConfidence() ? sigmaLegend() : regionLegend(description.regions)).map(
    ([text, colour]) => {
      const item = document.createElement("li");
      item.textContent = text;
      item.style.setProperty("--colour", colour);
      return item;
    },
  );
  element("legend").replaceChildren(...items);
}

// ── the box that the visitor draws ──

// Returns where in the picture a pointer is.
function toPicture(event) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const share = (event.clientX - left) / width;
  return {
    x: (camera ? 1 - share : share) * source.width, // the camera is shown as in a mirror
    y: ((event.clientY - top) / height) * source.height,
  };
}

function dragged() {
  const [a, b] = [drag.from, drag.to];
  return rounded({
    left: Math.min(a.x, b.x), top: Math.min(a.y, b.y),
    right: Math.max(a.x, b.x), bottom: Math.max(a.y, b.y),
  });
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  drag = { from: toPicture(event), to: toPicture(event), start: event };
});

canvas.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.to = toPicture(event);
  if (!camera) paint();
});

canvas.addEventListener("pointerup", (event) => {
  if (!drag) return;
  drag.to = toPicture(event);
  const drawn = dragged();
  const { clientX, clientY } = drag.start;
  const sides = [Math.abs(event.clientX - clientX), Math.abs(event.clientY - clientY)];
  drag = null;
  const isClick = Math.max(...sides) < MIN_DRAG;
  // A drag along one axis alone is a finger that scrolls, neither a click nor a box.
  if (!isClick && Math.min(...sides) < MIN_DRAG) return paint();
  box = isClick ? null : drawn;
  if (!camera) findInPhoto();
});

canvas.addEventListener("pointercancel", () => {
  drag = null;
  if (!camera) paint();
});

// ── other controls ──

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

// Returns a table with a line per point: number, region, position and, if the model predicts it,
// standard deviation.
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
  link.href = URL.createObjectURL(new Blob([table(face)], { type: "text/tab-separated-values" }));
  link.download = `${name.replace(/\.[^.]*$/, "")}.tsv`;
  link.click();
  URL.revokeObjectURL(link.href);
});
