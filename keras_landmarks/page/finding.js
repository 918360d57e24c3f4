// Finding a face's points where they are surest: in a box, in better ones beside it, or anywhere.

import { bounds, fittingBox, median, moved, searchBoxes, whole, zoomed } from "./tracking.js";

// By how much a point may be off, as a share of the face's size. Measured with a model that tells its
// standard deviations, on 60 crops of faces and 20 photos: 1.6 to 2.3 % where a face is framed as the
// network wants it, up to 4 % elsewhere; 4.7 to 23 % where there is none. Without its word, by a moved
// box, 95 % of the same faces are within the limit and 0.5 % of 218 boxes without one.
const GOOD = 0.025;
export const LIMIT = 0.045;
const SIZES = [0.95, 0.6, 0.36]; // of a photo: boxes that are searched for a face
const SEARCHED = 800; // px, the longer side of what is searched: reading a large photo takes long
const ROUNDS = 3; // of looking again, in the box that fits what was found

// Looks into a box of a picture: {points, sigmas, box, doubt}, doubt the share above. The network's
// word for it or, where it gives none, how far points go when the box moves a little: those of a
// face stay.
export async function look(network, picture, box) {
  const region = whole(box);
  const found = await network.predict(picture, region);
  const { size } = bounds(found.points);
  if (found.sigmas) return { ...found, box: region, doubt: median(found.sigmas) / size };
  const { points } = await network.predict(picture, whole(moved(region)));
  return { ...found, box: region, doubt: median(distances(found.points, points)) / size };
}

// The surest of what is found in a box and, unless that is good, in those that fit what was found.
export async function lookCloser(network, picture, box) {
  let best = await look(network, picture, box);
  for (let round = 0, last = best; round < ROUNDS && best.doubt > GOOD; round++) {
    last = await look(network, picture, fittingBox(last.points, network.description));
    best = surer(best, last);
  }
  return best;
}

// What is found in all of a picture or, unless that is good, the surest of what is found in better
// boxes, anywhere in it, as long as it is wanted.
export async function findAnywhere(network, picture, wanted) {
  const all = await look(network, picture, boxOf(picture.canvas));
  // A moved box tells less: what it leaves in doubt may be as good as can be.
  if (all.doubt < (all.sigmas ? GOOD : LIMIT)) return all;
  const zoom = Math.min(1, SEARCHED / Math.max(picture.canvas.width, picture.canvas.height));
  const copy = zoom < 1 ? shrink(picture.canvas, zoom) : picture;
  let best = await lookCloser(network, copy, boxOf(copy.canvas));
  // Without the network's word one of so many boxes would seem a face by chance.
  const unsure = best.sigmas && best.doubt >= LIMIT;
  const others = unsure ? searchBoxes(copy.canvas, network.description, SIZES) : [];
  for (const box of others) {
    best = surer(best, await look(network, copy, box));
    if (best.doubt < GOOD || !wanted()) break;
    await new Promise((resume) => setTimeout(resume)); // the browser may have something to do
  }
  return surer(all, await lookCloser(network, picture, zoomed(best.box, 1 / zoom)));
}

const boxOf = ({ width, height }) => ({ left: 0, top: 0, right: width, bottom: height });

function shrink(canvas, zoom) {
  const copy = new OffscreenCanvas(Math.ceil(canvas.width * zoom), Math.ceil(canvas.height * zoom));
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0, copy.width, copy.height);
  return context;
}

const surer = (one, other) => (other.doubt < one.doubt ? other : one);

function distances(points, others) {
  const offs = points.map((value, i) => value - others[i]);
  return Float64Array.from({ length: offs.length / 2 }, (_, i) =>
    Math.hypot(offs[2 * i], offs[2 * i + 1]),
  );
}
