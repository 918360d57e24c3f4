// The network, run by ONNX Runtime Web on this machine's processor.

import * as ort from "onnxruntime-web/wasm";

import { frameImage, toImage } from "./framing.js";
import { cutOut } from "./images.js";

// Takes the bytes of ONNX Runtime's WebAssembly and of the model, and landmarks.json.
export async function loadNetwork(runtime, model, description) {
  ort.env.wasm.wasmBinary = runtime;
  ort.env.wasm.numThreads = 1; // more need headers that a file on disk has not
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return new Network(session, description);
}

class Network {
  constructor(session, description) {
    this.session = session;
    this.description = description;
  }

  // Finds the points in a region of the picture that a canvas's context shows: {points, sigmas} in
  // its pixels, points as [x, y, x, y, ...], sigmas (the standard deviation of a coordinate) only if
  // the model tells them.
  async predict(context, region) {
    const framed = frameImage(cutOut(context, region), this.description);
    const { width, height, data } = framed.input;
    const image = new ort.Tensor("float32", Float32Array.from(data), [1, height, width, 3]);
    const { landmarks } = await this.session.run({ image });
    const [, count, numbers] = landmarks.dims;
    const input = new Float64Array(2 * count);
    for (let i = 0; i < count; i++) {
      input[2 * i] = landmarks.data[numbers * i];
      input[2 * i + 1] = landmarks.data[numbers * i + 1];
    }
    const corner = [region.left, region.top];
    const points = toImage(input, framed).map((value, i) => value + corner[i % 2]);
    const scale = Math.sqrt(framed.scale[0] * framed.scale[1]);
    const sigma = (i) => Math.exp(landmarks.data[numbers * i + 2] / 2) / scale;
    const sigmas = numbers === 3 ? Float64Array.from({ length: count }, (_, i) => sigma(i)) : null;
    return { points, sigmas };
  }
}
