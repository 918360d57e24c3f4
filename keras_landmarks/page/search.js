// Searches a picture for a face: in a given box, in boxes that fit better, or everywhere.

import {
  bounds, boxForPoints, median, perturbed, rounded, scaled, searchBoxes,
} from "./tracking.js";

// The doubt of a result is its estimated error as a share of the face's size. Measured with a model
// that predicts standard deviations, on 60 crops of faces and 20 photos: 1.6 to 2.3 % if the box
// frames the face as the network expects it, up to 4 % otherwise, and 4.7 to 23 % without a face.
// For models without standard deviations, doubt is how far the points move with the box: 95 % of
// the same faces are within the limit, and 0.5 % of 218 boxes without a face.
const GOOD_DOUBT = 0.025;
export const MAX_DOUBT = 0.045;
const BOX_SIZES = [0.95, 0.6, 0.36]; // of the boxes to search, as shares of the photo
const MAX_SEARCHED = 800; // px, longer side of the picture that is searched: large photos are slow
const MAX_ROUNDS = 3; // of refining a box

// Returns what the network finds in a box of a picture: {points, sigmas, box, doubt}. Without
// standard deviations, doubt comes from a second prediction in a perturbed box: the points of a
// face stay where they are, others move with the box.
export async function evaluateBox(network, picture, box) {
  const region = rounded(box);
  const found = await network.predict(picture, region);
  const { size } = bounds(found.points);
  if (found.sigmas) return { ...found, box: region, doubt: median(found.sigmas) / size };
  const { points } = await network.predict(picture, rounded(perturbed(region)));
  return { ...found, box: region, doubt: median(distances(found.points, points)) / size };
}

// Returns the best result in a box and, unless that is good, in boxes that fit the points found.
export async function refineBox(network, picture, box) {
  let best = await evaluateBox(network, picture, box);
  for (let round = 0, last = best; round < MAX_ROUNDS && best.doubt > GOOD_DOUBT; round++) {
    last = await evaluateBox(network, picture, boxForPoints(last.points, network.description));
    best = better(best, last);
  }
  return best;
}

// Returns the result for the whole picture or, unless that is good, the best result of a search in
// boxes all over it. The search ends early once `isCurrent()` is false.
export async function findFace(network, picture, isCurrent) {
  const whole = await evaluateBox(network, picture, boxOf(picture.canvas));
  // Doubt by a perturbed box has a higher floor, so anything within the limit counts as good.
  if (whole.doubt < (whole.sigmas ? GOOD_DOUBT : MAX_DOUBT)) return whole;
  const zoom = Math.min(1, MAX_SEARCHED / Math.max(picture.canvas.width, picture.canvas.height));
  const copy = zoom < 1 ? shrink(picture.canvas, zoom) : picture;
  let best = await refineBox(network, copy, boxOf(copy.canvas));
  // Without standard deviations, one of so many boxes would look like a face by chance.
  const needsSearch = best.sigmas && best.doubt >= MAX_DOUBT;
  const boxes = needsSearch ? searchBoxes(copy.canvas, network.description, BOX_SIZES) : [];
  for (const box of boxes) {
    best = better(best, await evaluateBox(network, copy, box));
    if (best.doubt < GOOD_DOUBT || !isCurrent()) break;
    await new Promise((resume) => setTimeout(resume)); // lets the browser handle events
  }
  return better(whole, await refineBox(network, picture, scaled(best.box, 1 / zoom)));
}

const boxOf = ({ width, height }) => ({ left: 0, top: 0, right: width, bottom: height });

function shrink(canvas, zoom) {
  const copy = new OffscreenCanvas(Math.ceil(canvas.width * zoom), Math.ceil(canvas.height * zoom));
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0, copy.width, copy.height);
  return context;
}

const better = (one, other) => (other.doubt < one.doubt ? other : one);

function distances(points, others) {
  const differences = points.map((value, i) => value - others[i]);
  return Float64Array.from({ length: differences.length / 2 }, (_, i) =>
    Math.hypot(differences[2 * i], differences[2 * i + 1]),
  );
}
