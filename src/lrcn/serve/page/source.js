// What is watched: a camera, or a video file that plays.

const CAMERA_TROUBLE = {
  NotAllowedError: 'The camera may not be used: allow it in the address bar, then try again.',
  NotFoundError: 'No camera was found: connect one, or choose a video.',
  NotReadableError: 'The camera is used by another program: close that one, then try again.',
  OverconstrainedError: 'That camera is gone: choose another.',
};
const FIRST_DATA = 15;

export class Source {
  #video;
  #canvas = document.createElement('canvas');
  #stream = null;
  #address = '';
  #began = 0;
  #stopped = 0;
  kind = '';

  constructor(video) { this.#video = video; }

  /** Shows a camera. Throws an Error whose message is for the user. */
  async camera(device = '') {
    if (!navigator.mediaDevices) {
      throw new Error('A browser gives its camera to pages from https or from localhost alone: open this page so, or choose a video.');
    }
    const size = { width: { ideal: 640 }, height: { ideal: 480 } };
    const wanted = device ? { ...size, deviceId: { exact: device } } : { ...size, facingMode: 'environment' };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    } catch (error) {
      throw new Error(CAMERA_TROUBLE[error.name] ?? `The camera cannot be used: ${error.message || error.name}.`);
    }
    const goesOn = this.kind === 'camera';
    this.#release();
    this.kind = 'camera';
    if (!goesOn) {
      this.#stopped = 0;
      this.restart();
    }
    this.#stream = stream;
    this.#video.srcObject = stream;
    await this.#video.play().catch(() => {});
  }

  /** Opens a file; it waits for `play`. Throws an Error whose message is for the user. */
  async file(file) {
    this.#release();
    this.kind = 'file';
    this.#address = URL.createObjectURL(file);
    await new Promise((done, fail) => {
      const trouble = () => fail(new Error(`${file.name} is nothing that this browser can play: MP4 with H.264 and WebM work everywhere.`));
      setTimeout(trouble, FIRST_DATA * 1000);
      this.#video.onloadeddata = () => (this.#video.videoWidth ? done() : trouble());
      this.#video.onerror = trouble;
      this.#video.src = this.#address;
    });
    this.#video.onerror = null;
  }

  /** The cameras there are, {id, name}; empty unless one is in use. */
  async cameras() {
    const all = await navigator.mediaDevices.enumerateDevices();
    return all.filter((one) => one.kind === 'videoinput').map((one, n) => ({ id: one.deviceId, name: one.label || `Camera ${n + 1}` }));
  }

  get device() { return this.#stream?.getVideoTracks()[0]?.getSettings().deviceId ?? ''; }

  /** Seconds: into a file, or since the camera's clock was started; whole milliseconds. */
  get time() {
    if (this.kind === 'file') return Math.round(this.#video.currentTime * 1000) / 1000;
    return Math.round((this.#stopped || performance.now()) - this.#began) / 1000;
  }

  /** Whether there is nothing more to come. */
  get over() {
    if (this.kind === 'file') return this.#video.ended;
    return this.#stream?.getVideoTracks()[0]?.readyState === 'ended';
  }

  /** The camera's clock begins again; a file has its own. */
  restart() {
    this.#began = performance.now();
    if (this.#stopped) this.#stopped = this.#began;
  }

  pause() {
    this.#video.pause();
    this.#stopped ||= performance.now();
  }

  async play() {
    this.#stopped = 0;
    await this.#video.play().catch(() => {});
  }

  /** The picture now as a JPEG whose longer side has at most `side` pixels; null where there is none yet. */
  async picture(side, quality = 0.8) {
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (!width || this.#video.readyState < 2) return null;
    const shrink = Math.min(1, side / Math.max(width, height));
    this.#canvas.width = Math.max(1, Math.round(width * shrink));
    this.#canvas.height = Math.max(1, Math.round(height * shrink));
    this.#canvas.getContext('2d').drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height);
    return new Promise((done) => this.#canvas.toBlob(done, 'image/jpeg', quality));
  }

  stop() {
    this.#release();
    this.kind = '';
  }

  #release() {
    this.#video.pause();
    this.#video.onerror = null;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
    this.#video.removeAttribute('src');
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = '';
    this.#video.load();
  }
}
