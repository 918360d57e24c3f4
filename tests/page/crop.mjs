// Crops raw RGB images as the page does; for tests/page/test_page.py.
// Usage: node crop.mjs JOBS: a JSON list of {photo, width, height, spec, input}, with paths of raw
// images. Prints the list of {scale, offset}.

import { readFileSync, writeFileSync } from "node:fs";

import { cropImage } from "../../keras_landmarks/page/crop.js";

const jobs = JSON.parse(readFileSync(process.argv[2], "utf8"));
const transforms = jobs.map(({ photo, width, height, spec, input }) => {
  const crop = cropImage({ width, height, data: readFileSync(photo) }, spec);
  writeFileSync(input, crop.input.data);
  return { scale: crop.scale, offset: crop.offset };
});
console.log(JSON.stringify(transforms));
