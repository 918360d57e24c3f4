// Draws points and boxes on the page's canvas, and chooses their colours.

// The palette of Okabe and Ito; a right side has a lighter tint of its left side's hue. The same
// colours as in keras_landmarks/images/drawing.py.
const REGION_COLOURS = {
  jaw_left: "#0072d2",
  jaw_right: "#56b4e9",
  oval_upper: "#e1e1e1",
  brow_left: "#e68c00",
  brow_right: "#ffbe50",
  nose_left: "#009e73",
  nose_right: "#6edcb4",
  nose_midline: "#006e50",
  eye_left_upper: "#f0e442",
  eye_left_lower: "#beb200",
  eye_right_upper: "#fffaaa",
  eye_right_lower: "#dcd26e",
  lip_upper_outer: "#cc79a7",
  lip_upper_inner: "#963c73",
  lip_lower_outer: "#f0b4d7",
  lip_lower_inner: "#b45ab4",
  pupil_left: "#d55e00",
  pupil_right: "#ff8c3c",
};
const PLAIN = "#56b4e9";
// From one colour to the next the standard deviation, as a share of the face's size, doubles.
const SIGMA_SHARES = [0.01, 0.02, 0.04];
const SIGMA_COLOURS = [[86, 180, 233], [240, 228, 66], [213, 94, 0]];

// Returns a colour for each region; names that are not the contest's take the hues in turn.
function colourRegions(regions) {
  const hues = Object.values(REGION_COLOURS);
  let others = 0;
  return Object.fromEntries(
    Object.keys(regions).map((name) => [
      name,
      REGION_COLOURS[name] ?? hues[others++ % hues.length],
    ]),
  );
}

// Returns a colour for each point by its region; regions are [first, last] point by name.
export function regionColours(points, regions) {
  const colours = new Array(points).fill(PLAIN);
  for (const [name, colour] of Object.entries(colourRegions(regions))) {
    const [first, last] = regions[name];
    colours.fill(colour, first, last + 1);
  }
  return colours;
}

// Returns the legend of region colours: [text, colour] each.
export function regionLegend(regions) {
  return Object.entries(colourRegions(regions)).map(([name, colour]) => [
    name.replaceAll("_", " "),
    colour,
  ]);
}

// Returns a colour for each point by its standard deviation, as a share of the face's size.
export function sigmaColours(sigmas, faceSize) {
  const last = SIGMA_COLOURS.length - 1;
  return Array.from(sigmas, (sigma) => {
    const doublings = Math.log2(sigma / faceSize / SIGMA_SHARES[0]);
    const place = Math.min(last, Math.max(0, doublings));
    const below = Math.min(last - 1, Math.floor(place));
    const [from, to] = [SIGMA_COLOURS[below], SIGMA_COLOURS[below + 1]];
    return rgb(from.map((value, i) => value + (place - below) * (to[i] - value)));
  });
}

// Returns the legend of these colours: [text, colour] each.
export function sigmaLegend() {
  const shares = SIGMA_SHARES.map((share) => `± ${100 * share} %`);
  const texts = [
    `sure, by the model's own estimate: ${shares[0]} of the face or less`,
    shares[1],
    `unsure: ${shares[2]} or more`,
  ];
  return texts.map((text, i) => [text, rgb(SIGMA_COLOURS[i])]);
}

function rgb(values) {
  return `rgb(${values.map(Math.round).join(" ")})`;
}

// Draws points, in pixels of a picture that the canvas shows `zoom` times as large. `size` is the
// face's, for the size of the dots.
export function drawPoints(context, points, colours, zoom, size) {
  const radius = Math.max(1.1, Math.min(3, (size * zoom) / 150));
  for (let i = 0; i < colours.length; i++) {
    context.fillStyle = colours[i];
    context.beginPath();
    // (0, 0) is the centre of the upper left pixel.
    context.arc((points[2 * i] + 0.5) * zoom, (points[2 * i + 1] + 0.5) * zoom, radius, 0, 7);
    context.fill();
  }
}

// Draws the outline of a box of the picture.
export function drawBox(context, box, zoom) {
  context.strokeStyle = "rgb(255 255 255 / 80%)";
  context.lineWidth = 1.5;
  context.setLineDash([6, 4]);
  context.strokeRect(
    box.left * zoom, box.top * zoom, (box.right - box.left) * zoom, (box.bottom - box.top) * zoom,
  );
  context.setLineDash([]);
}
