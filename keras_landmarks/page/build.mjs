// Builds the page as one self-contained HTML file.
// Usage: node build.mjs EXPORTED PAGE: the folder that `keras_landmarks.export` wrote, and the file
// to write.

import { readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const [exported, page] = process.argv.slice(2);

const bundled = await build({
  entryPoints: [join(here, "main.js")],
  bundle: true,
  minify: true,
  format: "esm",
  write: false,
  legalComments: "inline",
});
const runtime = "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm";
const parts = {
  "/* style.css */": await readFile(join(here, "style.css"), "utf8"),
  // "</script" in the code would end the script element.
  "/* main.js */": bundled.outputFiles[0].text.replaceAll("</script", "<\\/script"),
  description: await readFile(join(exported, "landmarks.json")),
  model: await readFile(join(exported, "model.onnx")),
  runtime: await readFile(join(here, runtime)),
};
let html = await readFile(join(here, "index.html"), "utf8");
for (const [name, content] of Object.entries(parts)) {
  const text = typeof content === "string" ? content : gzipSync(content, { level: 9 }).toString("base64");
  const place = typeof content === "string" ? name : `id="${name}">`;
  html = html.replace(place, () => (typeof content === "string" ? text : place + text));
}
await writeFile(`${page}.partial`, html);
await rename(`${page}.partial`, page);
console.log(`${page}: ${(html.length / 1e6).toFixed(1)} MB`);
