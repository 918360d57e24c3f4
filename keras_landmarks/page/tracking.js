// Boxes in which to look for a face: initially, and in the next picture by the points in this one.
// Boxes are {left, top, right, bottom}. `spec` is landmarks.json with its width, height and
// face_box.

const EASE = 0.6; // share of the way to the new box in one picture, so that points jitter less
const MIN_SIDE = 0.08; // of the picture's shorter side: smaller boxes hold no face
const MAX_SIDE = 1.6;
const STEP = 0.5; // between boxes to search, as a share of the box

// Returns boxes all over the picture, in the network's aspect ratio. Sizes are shares of the
// picture.
export function searchBoxes(picture, spec, sizes) {
  const largest = Math.min(picture.width / spec.width, picture.height / spec.height);
  return sizes.flatMap((size) => {
    const [width, height] = [spec.width * largest * size, spec.height * largest * size];
    return centres(picture.height, height).flatMap((y) =>
      centres(picture.width, width).map((x) => boxAround(x, y, width, height)),
    );
  });
}

// Returns the centres of boxes of some length, evenly spaced along a side from end to end.
function centres(side, length) {
  const gaps = Math.round((side - length) / (STEP * length));
  if (gaps < 1) return [side / 2];
  const shares = Array.from({ length: gaps + 1 }, (_, i) => i / gaps);
  return shares.map((share) => length / 2 + share * (side - length));
}

// Returns the box in which points lie where a face's points usually lie in the network's input.
export function boxForPoints(points, spec) {
  const face = bounds(points);
  const [left, top, right, bottom] = spec.face_box;
  const usualSize = [(right - left) * spec.width, (bottom - top) * spec.height];
  const scale = Math.sqrt((face.width * face.height) / (usualSize[0] * usualSize[1]));
  const width = spec.width * scale;
  const height = spec.height * scale;
  return boxAround(
    face.x + (0.5 - (left + right) / 2) * width,
    face.y + (0.5 - (top + bottom) / 2) * height,
    width,
    height,
  );
}

// Returns the box for the next picture, or null if the points of this one cannot be a face.
export function nextBox(points, picture, spec, previous) {
  const face = bounds(points);
  const box = boxForPoints(points, spec);
  const shorter = Math.min(picture.width, picture.height);
  const side = Math.min(box.right - box.left, box.bottom - box.top);
  const isInside = face.x > 0 && face.x < picture.width && face.y > 0 && face.y < picture.height;
  const isPlausible = isInside && side > MIN_SIDE * shorter && side < MAX_SIDE * shorter;
  return isPlausible ? blend(previous, box) : null;
}

// Returns a box that is slightly shifted and smaller. Among the shifts tried, this one separates
// faces from other things best.
export function perturbed({ left, top, right, bottom }) {
  const [width, height] = [right - left, bottom - top];
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  return boxAround(x - 0.06 * width, y - 0.06 * height, 0.87 * width, 0.87 * height);
}

export function scaled(box, factor) {
  return Object.fromEntries(Object.entries(box).map(([name, value]) => [name, value * factor]));
}

// Returns the box with whole numbers, never empty.
export function rounded(box) {
  const [left, top] = [Math.round(box.left), Math.round(box.top)];
  const right = Math.max(left + 1, Math.round(box.right));
  return { left, top, right, bottom: Math.max(top + 1, Math.round(box.bottom)) };
}

// Returns the centre of points [x, y, x, y, ...], their extent, and its geometric mean, the size.
export function bounds(points) {
  const xs = points.filter((_, i) => i % 2 === 0);
  const ys = points.filter((_, i) => i % 2 === 1);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  const [width, height] = [right - left, bottom - top];
  const size = Math.sqrt(width * height);
  return { x: (left + right) / 2, y: (top + bottom) / 2, width, height, size };
}

export const median = (values) => Float64Array.from(values).sort()[values.length >> 1];

function boxAround(x, y, width, height) {
  return { left: x - width / 2, top: y - height / 2, right: x + width / 2, bottom: y + height / 2 };
}

function blend(previous, box) {
  const names = ["left", "top", "right", "bottom"];
  return Object.fromEntries(
    names.map((name) => [name, previous[name] + EASE * (box[name] - previous[name])]),
  );
}
