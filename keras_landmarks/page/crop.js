// From an image to the network's input, the crop, and back: what keras_landmarks/images/geometry.py
// does. `spec` is landmarks.json with its width, height, framing and trim_bands.

import { crop, paste, resizeByArea, resizeLinearly, roundToEven } from "./images.js";

const BLACK = 12; // brightest value that JPEG compression makes of black pixels

// Returns the crop of an image, `input`, and how pixels of the image become pixels of the crop:
// x * scale + offset, each of them [x, y].
export function cropImage(image, spec) {
  const region = spec.trim_bands ? findContent(image) : wholeImage(image);
  const content = crop(
    image, region.left, region.top, region.right - region.left, region.bottom - region.top,
  );
  const { scaledSize, cropCorner } = fit(content, spec);
  const input = render(content, spec, scaledSize, cropCorner);
  const corner = [region.left, region.top];
  const scale = [scaledSize[0] / content.width, scaledSize[1] / content.height];
  const offset = scale.map((s, axis) => (0.5 - corner[axis]) * s - 0.5 - cropCorner[axis]);
  return { input, scale, offset };
}

// Maps points [x, y, x, y, ...] of the crop back to pixels of the image.
export function toImage(points, { scale, offset }) {
  return points.map((value, i) => (value - offset[i % 2]) / scale[i % 2]);
}

const wholeImage = (image) => ({ left: 0, top: 0, right: image.width, bottom: image.height });

// Returns the size that an image is scaled to, and the corner of the crop in it.
function fit(image, spec) {
  const size = [image.width, image.height];
  const cropSize = [spec.width, spec.height];
  if (spec.framing === "stretch") return { scaledSize: cropSize, cropCorner: [0, 0] };
  const factors = cropSize.map((side, axis) => side / size[axis]);
  const factor = spec.framing === "crop" ? Math.max(...factors) : Math.min(...factors);
  const axis = factors.indexOf(factor);
  const scaledSize = size.map((side) =>
    Math.max(1, roundToEven((side * cropSize[axis]) / size[axis])),
  );
  const cropCorner = scaledSize.map((side, i) => Math.floor((side - cropSize[i]) / 2));
  return { scaledSize, cropCorner };
}

function render(image, spec, [width, height], [left, top]) {
  if (spec.framing === "crop") {
    return crop(resizeByArea(image, width, height), left, top, spec.width, spec.height);
  }
  const smaller = resizeByArea(image, Math.min(image.width, width), Math.min(image.height, height));
  const scaled = resizeLinearly(smaller, width, height);
  return spec.framing === "stretch" ? scaled : paste(scaled, -left, -top, spec.width, spec.height);
}

// Returns the region inside the black bands at an image's edges.
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

// Returns the range of content by the maximum of each line. If the bands would take more than half
// of the lines, the image is dark rather than banded, and all lines are content.
function contentRange(brightest) {
  const first = brightest.findIndex((value) => value > BLACK);
  const last = brightest.findLastIndex((value) => value > BLACK);
  const isBanded = first >= 0 && 2 * (last + 1 - first) >= brightest.length;
  return isBanded ? [first, last + 1] : [0, brightest.length];
}
