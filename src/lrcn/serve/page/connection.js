// One connection to the live recogniser: frames go out, answers come back, in order.

const IN_FLIGHT = 2;
const PATIENCE = 15000;

export class Connection {
  #socket;
  #hear;
  #sent = new Map();
  #watchdog;
  #ready = false;

  /**
   * `hear` has: ready({labels, rate}), answer(answer, milliseconds), refused(sentence), finished(segments) and
   * closed(code, reason), the last of which is told once.
   */
  constructor(hear) {
    this.#hear = hear;
    const address = new URL('/api/live', location.href);
    address.protocol = address.protocol.replace('http', 'ws');
    this.#socket = new WebSocket(address);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.addEventListener('message', (event) => this.#take(JSON.parse(event.data)));
    this.#socket.addEventListener('close', (event) => this.#end(event.code, event.reason));
    // A line that is cut without a word says nothing at all: silence is how it shows.
    this.#watchdog = setInterval(() => {
      const [eldest] = this.#sent.values();
      if (eldest && performance.now() - eldest > PATIENCE) this.#end(1006, '');
    }, 1000);
  }

  /** Whether another frame may go out. */
  get free() { return this.#ready && this.#socket.readyState === WebSocket.OPEN && this.#sent.size < IN_FLIGHT; }

  get open() { return this.#socket.readyState === WebSocket.OPEN; }

  /** Sends a picture with its time, seconds. */
  async send(time, picture) {
    this.#sent.set(time, performance.now());
    const head = new DataView(new ArrayBuffer(8));
    head.setFloat64(0, time, true);
    const message = await new Blob([head, picture]).arrayBuffer();
    if (this.open) this.#socket.send(message);
  }

  /** A new sequence begins; answers to what was sent before are not heard any more. */
  reset() {
    this.#sent.clear();
    if (this.open) this.#socket.send('{"reset": true}');
  }

  finish() { if (this.open) this.#socket.send('{"finish": true}'); }

  close() { this.#end(1000, ''); }

  #take(message) {
    if (!this.#hear) return;
    if (message.ready) {
      this.#ready = true;
      this.#hear.ready(message);
    } else if (message.finished) {
      this.#hear.finished(message.segments);
    } else {
      const milliseconds = this.#answered(message.time);
      if (message.error) this.#hear.refused(message.error);
      else if (milliseconds !== null) this.#hear.answer(message, milliseconds);
    }
  }

  // How long the answer to a frame took; null where none was waited for. Frames before it were dropped.
  #answered(time) {
    const times = [...this.#sent.keys()];
    const place = time === null ? -1 : times.findIndex((one) => Math.abs(one - time) < 5e-4);
    if (place < 0) return null;
    const milliseconds = performance.now() - this.#sent.get(times[place]);
    for (const one of times.slice(0, place + 1)) this.#sent.delete(one);
    return milliseconds;
  }

  #end(code, reason) {
    if (!this.#hear) return;
    const hear = this.#hear;
    this.#hear = null;
    clearInterval(this.#watchdog);
    this.#socket.close();
    hear.closed(code, reason);
  }
}
