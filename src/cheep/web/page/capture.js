/* SPDX-License-Identifier: MIT */
// In the audio thread: only collect samples and pass them on.
const BATCH = 1024;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.buffer = new Float32Array(BATCH);
    this.filled = 0;
    this.port.onmessage = (event) => { this.out = event.data; };
  }

  process(inputs) {
    const channel = inputs[0] && inputs[0][0];
    if (!channel || !this.out) return true;
    let done = 0;
    while (done < channel.length) {
      const n = Math.min(channel.length - done, BATCH - this.filled);
      this.buffer.set(channel.subarray(done, done + n), this.filled);
      this.filled += n;
      done += n;
      if (this.filled === BATCH) {
        this.out.postMessage({ samples: this.buffer }, [this.buffer.buffer]);
        this.buffer = new Float32Array(BATCH);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("cheep-capture", Capture);
