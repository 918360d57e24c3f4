// Where to look for a face: at first, and in the next picture, by where its points are in this one.

const EASE = 0.6; // of the way to the new place in one picture: points tremble less
const LEAST = 0.08; // of the picture's shorter side: smaller is no face
const MOST = 1.6;
const STEP = 0.5; // of a box from one to the next

// Boxes all over the picture, of sizes that are shares of it, in the shape that the network wants.
export function searchBoxes(picture, frame, sizes) {
  const largest = Math.min(picture.width / frame.width, picture.height / frame.height);
  return sizes.flatMap((size) => {
    const [width, height] = [frame.width * largest * size, frame.height * largest * size];
    return middles(picture.height, height).flatMap((y) =>
      middles(picture.width, width).map((x) => around(x, y, width, height)),
    );
  });
}

// Where the middles of boxes of a length lie along a side: evenly, from end to end.
function middles(side, length) {
  const gaps = Math.round((side - length) / (STEP * length));
  if (gaps < 1) return [side / 2];
  const places = Array.from({ length: gaps + 1 }, (_, i) => i / gaps);
  return places.map((place) => length / 2 + place * (side - length));
}

// The box that has the points where a face's lie as a rule in the network's input (face_box).
export function fittingBox(points, frame) {
  const face = bounds(points);
  const [left, top, right, bottom] = frame.face_box;
  const usual = [(right - left) * frame.width, (bottom - top) * frame.height];
  const scale = Math.sqrt((face.width * face.height) / (usual[0] * usual[1]));
  const width = frame.width * scale;
  const height = frame.height * scale;
  return around(
    face.x + (0.5 - (left + right) / 2) * width,
    face.y + (0.5 - (top + bottom) / 2) * height,
    width,
    height,
  );
}

// The box for the next picture, or null where points can be no face in this one.
export function nextBox(points, picture, frame, earlier) {
  const face = bounds(points);
  const box = fittingBox(points, frame);
  const shorter = Math.min(picture.width, picture.height);
  const side = Math.min(box.right - box.left, box.bottom - box.top);
  const inside = face.x > 0 && face.x < picture.width && face.y > 0 && face.y < picture.height;
  return inside && side > LEAST * shorter && side < MOST * shorter ? blend(earlier, box) : null;
}

// A box a little beside another, and smaller: by as much as tells faces from others best.
export function moved({ left, top, right, bottom }) {
  const [width, height] = [right - left, bottom - top];
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  return around(x - 0.06 * width, y - 0.06 * height, 0.87 * width, 0.87 * height);
}

export function zoomed(box, zoom) {
  return Object.fromEntries(Object.entries(box).map(([name, value]) => [name, value * zoom]));
}

// The same with whole numbers, as images have, and not empty.
export function whole(box) {
  const [left, top] = [Math.round(box.left), Math.round(box.top)];
  const right = Math.max(left + 1, Math.round(box.right));
  return { left, top, right, bottom: Math.max(top + 1, Math.round(box.bottom)) };
}

// The middle of points and their extent.
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

function around(x, y, width, height) {
  return { left: x - width / 2, top: y - height / 2, right: x + width / 2, bottom: y + height / 2 };
}

function blend(earlier, box) {
  const names = ["left", "top", "right", "bottom"];
  return Object.fromEntries(
    names.map((name) => [name, earlier[name] + EASE * (box[name] - earlier[name])]),
  );
}
