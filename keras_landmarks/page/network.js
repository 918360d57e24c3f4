// Runs the network with ONNX Runtime Web, on the CPU of this machine.

import * as ort from "onnxruntime-web/wasm";

import { cropImage, toImage } from "./crop.js";
import { readRegion } from "./images.js";

// Loads a network. `runtime` and `model` are the bytes of ONNX Runtime's WebAssembly and of the
// model, `description` is landmarks.json.
export async function loadNetwork(runtime, model, description) {
  ort.env.wasm.wasmBinary = runtime;
  ort.env.wasm.numThreads = 1; // more need HTTP headers, which a page from disk does not have
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return new Network(session, description);
}

class Network {
  constructor(session, description) {
    this.session = session;
    this.description = description;
  }

  // Predicts the points in a region of a canvas, given its context. Returns {points, sigmas} in
  // pixels of the canvas: points as [x, y, x, y, ...]; sigmas, the standard deviation of a
  // coordinate, or null if the model does not predict them.
  async predict(context, region) {
    const crop = cropImage(readRegion(context, region), this.description);
    const { width, height, data } = crop.input;
    const image = new ort.Tensor("float32", Float32Array.from(data), [1, height, width, 3]);
    const { landmarks } = await this.session.run({ image });
    const [, count, numbers] = landmarks.dims;
    const cropPoints = new Float64Array(2 * count);
    for (let i = 0; i < count; i++) {
      cropPoints[2 * i] = landmarks.data[numbers * i];
      cropPoints[2 * i + 1] = landmarks.data[numbers * i + 1];
    }
    const corner = [region.left, region.top];
    const points = toImage(cropPoints, crop).map((value, i) => value + corner[i % 2]);
    const scale = Math.sqrt(crop.scale[0] * crop.scale[1]);
    const sigma = (i) => Math.exp(landmarks.data[numbers * i + 2] / 2) / scale;
    const sigmas = numbers === 3 ? Float64Array.from({ length: count }, (_, i) => sigma(i)) : null;
    return { points, sigmas };
  }
}
