// Pictures, points and the box on the page's canvas.

// The hues of Okabe and Ito; a right side has the lighter tint of its left side's hue. As
// keras_landmarks/reports/drawing.py has them.
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
const SURE = [86, 180, 233];
const UNSURE = [213, 94, 0];

// A colour for each region; other names than the contest's take the hues in turn.
export function colourRegions(regions) {
  const hues = Object.values(REGION_COLOURS);
  let others = 0;
  return Object.fromEntries(
    Object.keys(regions).map((name) => [
      name,
      REGION_COLOURS[name] ?? hues[others++ % hues.length],
    ]),
  );
}

// A colour for each point by its region, first and last point; all alike where there are none.
export function regionColours(points, regions) {
  const colours = new Array(points).fill(PLAIN);
  for (const [name, colour] of Object.entries(colourRegions(regions))) {
    const [first, last] = regions[name];
    colours.fill(colour, first, last + 1);
  }
  return colours;
}

// A colour for each point from sure to unsure: a standard deviation of 5 % of the face is unsure.
export function sigmaColours(sigmas, faceSize) {
  return Array.from(sigmas, (sigma) => {
    const share = Math.min(1, sigma / (0.05 * faceSize));
    const mixed = SURE.map((from, i) => Math.round(from + share * (UNSURE[i] - from)));
    return `rgb(${mixed.join(" ")})`;
  });
}

// Draws the points over a picture that the canvas shows `zoom` times as large.
export function drawPoints(context, points, colours, zoom, size) {
  const radius = Math.max(1.1, Math.min(3, (size * zoom) / 150));
  for (let i = 0; i < colours.length; i++) {
    context.fillStyle = colours[i];
    context.beginPath();
    // (0, 0) is the middle of the upper left pixel.
    context.arc((points[2 * i] + 0.5) * zoom, (points[2 * i + 1] + 0.5) * zoom, radius, 0, 7);
    context.fill();
  }
}

export function drawBox(context, box, zoom) {
  context.strokeStyle = "rgb(255 255 255 / 80%)";
  context.lineWidth = 1.5;
  context.setLineDash([6, 4]);
  context.strokeRect(
    box.left * zoom, box.top * zoom, (box.right - box.left) * zoom, (box.bottom - box.top) * zoom,
  );
  context.setLineDash([]);
}
