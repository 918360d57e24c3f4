// Where to look for a face in the next picture, by where its points are in this one.

const EASE = 0.6; // of the way to the new place in one picture: points tremble less
const LEAST = 0.08; // of the picture's shorter side: smaller is no face
const MOST = 1.6;
const LEAST_SURE = 0.1; // of the face's size, the standard deviation of a point

// The box in which to look first: the middle of the picture, as the network wants it in shape.
export function firstBox(picture, frame) {
  const side = 0.9 * Math.min(picture.width / frame.width, picture.height / frame.height);
  return around(picture.width / 2, picture.height / 2, frame.width * side, frame.height * side);
}

// The box that has the face where faces lie as a rule in the network's input (face_box), or null
// where what was found ({points, sigmas}) can be no face in the picture.
export function nextBox({ points, sigmas }, picture, frame, earlier) {
  const face = bounds(points);
  const [left, top, right, bottom] = frame.face_box;
  const usual = [(right - left) * frame.width, (bottom - top) * frame.height];
  const scale = Math.sqrt((face.width * face.height) / (usual[0] * usual[1]));
  const width = frame.width * scale;
  const height = frame.height * scale;
  const box = around(
    face.x + (0.5 - (left + right) / 2) * width,
    face.y + (0.5 - (top + bottom) / 2) * height,
    width,
    height,
  );
  const sure = !sigmas || median(sigmas) < LEAST_SURE * face.size;
  return sure && plausible(box, face, picture) ? blend(earlier, box) : null;
}

// The same with whole numbers, as images have.
export function whole(box) {
  return Object.fromEntries(Object.entries(box).map(([name, value]) => [name, Math.round(value)]));
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

function plausible(box, face, picture) {
  const shorter = Math.min(picture.width, picture.height);
  const side = Math.min(box.right - box.left, box.bottom - box.top);
  const inside =
    face.x > 0 && face.x < picture.width && face.y > 0 && face.y < picture.height;
  return inside && side > LEAST * shorter && side < MOST * shorter;
}

function blend(earlier, box) {
  const names = ["left", "top", "right", "bottom"];
  return Object.fromEntries(
    names.map((name) => [name, earlier[name] + EASE * (box[name] - earlier[name])]),
  );
}
