// From a photo to the network's input and back: what keras_landmarks/data/geometry.py does.

import { crop, paste, resizeByArea, resizeLinearly, roundToEven } from "./images.js";

const BLACK = 12; // the brightest that black pixels become by JPEG

// The network's input of an image, and how its pixels become the image's: {scale, offset}, x and y.
// `frame` is landmarks.json: width, height, framing, trim_bands.
export function frameImage(image, frame) {
  const region = frame.trim_bands ? findContent(image) : whole(image);
  const content = crop(
    image, region.left, region.top, region.right - region.left, region.bottom - region.top,
  );
  const { scaled, start } = fit(content, frame);
  const input = draw(content, frame, scaled, start);
  const corner = [region.left, region.top];
  const scale = [scaled[0] / content.width, scaled[1] / content.height];
  const offset = scale.map((s, axis) => (0.5 - corner[axis]) * s - 0.5 - start[axis]);
  return { input, scale, offset };
}

// Points [x, y, x, y, ...] of the input, in the image's pixels.
export function toImage(points, { scale, offset }) {
  return points.map((value, i) => (value - offset[i % 2]) / scale[i % 2]);
}

const whole = (image) => ({ left: 0, top: 0, right: image.width, bottom: image.height });

// The size that an image is scaled to, and where in it the frame starts.
function fit(image, frame) {
  const size = [image.width, image.height];
  const target = [frame.width, frame.height];
  if (frame.framing === "stretch") return { scaled: target, start: [0, 0] };
  const factors = target.map((side, axis) => side / size[axis]);
  const wanted = frame.framing === "crop" ? Math.max(...factors) : Math.min(...factors);
  const fitting = factors.indexOf(wanted);
  const scaled = size.map((side) =>
    Math.max(1, roundToEven((side * target[fitting]) / size[fitting])),
  );
  return { scaled, start: scaled.map((side, axis) => Math.floor((side - target[axis]) / 2)) };
}

function draw(image, frame, [width, height], [left, top]) {
  if (frame.framing === "crop") {
    return crop(resizeByArea(image, width, height), left, top, frame.width, frame.height);
  }
  const smaller = resizeByArea(image, Math.min(image.width, width), Math.min(image.height, height));
  const scaled = resizeLinearly(smaller, width, height);
  return frame.framing === "stretch" ? scaled : paste(scaled, -left, -top, frame.width, frame.height);
}

// What the black bands at an image's edges leave of it.
function findContent(image) {
  const columns = new Uint8Array(image.width);
  const rows = new Uint8Array(image.height);
  for (let y = 0, i = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++, i += 3) {
      const brightest = Math.max(image.data[i], image.data[i + 1], image.data[i + 2]);
      if (brightest > columns[x]) columns[x] = brightest;
      if (brightest > rows[y]) rows[y] = brightest;
    }
  }
  const [left, right] = contentRange(columns);
  const [top, bottom] = contentRange(rows);
  return { left, top, right, bottom };
}

function contentRange(brightest) {
  const first = brightest.findIndex((value) => value > BLACK);
  const last = brightest.findLastIndex((value) => value > BLACK);
  const enough = first >= 0 && 2 * (last + 1 - first) >= brightest.length;
  return enough ? [first, last + 1] : [0, brightest.length];
}
