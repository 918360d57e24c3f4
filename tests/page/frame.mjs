// Frames raw RGB images as the page does; for tests/page/test_page.py.
// node frame.mjs JOBS: a JSON list of {photo, width, height, frame, input}, paths of raw images.
// Prints the list of {scale, offset}.

import { readFileSync, writeFileSync } from "node:fs";

import { frameImage } from "../../keras_landmarks/page/framing.js";

const jobs = JSON.parse(readFileSync(process.argv[2], "utf8"));
const framings = jobs.map(({ photo, width, height, frame, input }) => {
  const framed = frameImage({ width, height, data: readFileSync(photo) }, frame);
  writeFileSync(input, framed.input.data);
  return { scale: framed.scale, offset: framed.offset };
});
console.log(JSON.stringify(framings));
