// Operations on images {width, height, data}: RGB, one byte per value, row by row. Regions are
// {left, top, right, bottom} in pixels; right and bottom are exclusive.

// Reads a region of a canvas, given its context; black beyond the canvas.
export function readRegion(context, region) {
  const width = region.right - region.left;
  const height = region.bottom - region.top;
  const rgba = context.getImageData(region.left, region.top, width, height).data;
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { width, height, data };
}

// Returns a part of an image.
export function crop(image, left, top, width, height) {
  if (width === image.width && height === image.height) return image;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const start = ((y + top) * image.width + left) * 3;
    data.set(image.data.subarray(start, start + width * 3), y * width * 3);
  }
  return { width, height, data };
}

// Returns an image of some size, black except for the given image at (left, top).
export function paste(image, left, top, width, height) {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < image.height; y++) {
    const row = image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3);
    data.set(row, ((y + top) * width + left) * 3);
  }
  return { width, height, data };
}

// Scales an image as OpenCV's resize does with INTER_AREA.
export function resizeByArea(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const shrinks = image.width >= width && image.height >= height;
  const taps = shrinks ? areaTaps : repeatingTaps;
  // OpenCV rounds halves up when it averages 2 x 2 pixels, and to even otherwise.
  const roundsHalvesUp = image.width === 2 * width && image.height === 2 * height;
  return resample(image, taps(image.width, width), taps(image.height, height), roundsHalvesUp);
}

// Enlarges an image as OpenCV's resize does with INTER_LINEAR.
export function resizeLinearly(image, width, height) {
  if (image.width === width && image.height === height) return image;
  return resample(image, linearTaps(image.width, width), linearTaps(image.height, height), true);
}

// ── filter taps: for each output pixel along an axis, a list of [input index, weight] ──

function areaTaps(from, to) {
  const scale = 1 / (to / from);
  return Array.from({ length: to }, (_, place) => {
    const start = place * scale;
    const end = start + scale;
    const width = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1);
    const first = Math.min(Math.ceil(start), last);
    const taps = [];
    if (first - start > 1e-3) taps.push([first - 1, (first - start) / width]);
    for (let index = first; index < last; index++) taps.push([index, 1 / width]);
    if (end - last > 1e-3) taps.push([last, Math.min(end - last, 1, width) / width]);
    return taps;
  });
}

// What OpenCV does with INTER_AREA when a side grows.
function repeatingTaps(from, to) {
  const growth = to / from;
  const scale = 1 / growth; // not from / to, whose last bit can change the floor below
  return Array.from({ length: to }, (_, place) => {
    const index = Math.floor(place * scale);
    const share = Math.fround(place + 1 - (index + 1) * growth);
    return pair(index, share <= 0 ? 0 : share - Math.floor(share), from);
  });
}

function linearTaps(from, to) {
  return Array.from({ length: to }, (_, place) => {
    const centre = ((place + 0.5) * from) / to - 0.5;
    const index = Math.floor(centre);
    return index < 0 ? [[0, 1]] : pair(index, centre - index, from);
  });
}

function pair(index, share, from) {
  if (index >= from - 1) return [[from - 1, 1]];
  return [[index, 1 - share], [index + 1, share]];
}

// ── separable resampling: along x, then along y ──

function resample(image, columns, rows, roundsHalvesUp) {
  const width = columns.length;
  const data = new Uint8Array(width * rows.length * 3);
  const cache = new Map(); // rows that are resampled along x, for several output rows
  rows.forEach((taps, y) => {
    const sums = new Float64Array(width * 3);
    for (const [index, weight] of taps) {
      if (!cache.has(index)) cache.set(index, resampleRow(image, index, columns));
      const row = cache.get(index);
      for (let i = 0; i < sums.length; i++) sums[i] += row[i] * weight;
    }
    for (const index of cache.keys()) if (index < taps[0][0]) cache.delete(index);
    const start = y * width * 3;
    for (let i = 0; i < sums.length; i++) {
      data[start + i] = roundsHalvesUp ? Math.floor(sums[i] + 0.5) : roundToEven(sums[i]);
    }
  });
  return { width, height: rows.length, data };
}

function resampleRow(image, y, columns) {
  const row = new Float64Array(columns.length * 3);
  const start = y * image.width * 3;
  columns.forEach((taps, x) => {
    for (const [index, weight] of taps) {
      const from = start + index * 3;
      row[x * 3] += image.data[from] * weight;
      row[x * 3 + 1] += image.data[from + 1] * weight;
      row[x * 3 + 2] += image.data[from + 2] * weight;
    }
  });
  return row;
}

export function roundToEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}
