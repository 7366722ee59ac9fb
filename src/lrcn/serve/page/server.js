// Asking the server, and noticing when it is gone and when it is back.

const SILENT = 'The server does not answer.';

/** The server's own sentence about a request that it refused. */
export class Refused extends Error {}
/** There was no answer at all. */
export class Unreachable extends Error {
  constructor() { super(SILENT); }
}
/** The user called it off. */
export class Cancelled extends Error {}

const LONGEST = 15;
const SHORT = 2;
const PATIENCE = 5000;
let watch = null;
let hurry = () => {};

/** Tells "lost" with {sentence, pause}, the seconds until the next try, and "found". */
export const server = new EventTarget();

export const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// Why the server cannot be asked now; "" where it can.
const whyNot = async () => {
  try {
    const answer = await fetch('/ready', { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
    return answer.ok ? '' : (await answer.json()).error ?? SILENT;
  } catch {
    return SILENT;
  }
};

/** Resolves when the server answers; meanwhile it is asked ever less often. */
export const found = () => {
  watch ??= (async () => {
    let lost = false;
    for (let tries = 0; ; tries += 1) {
      const sentence = await whyNot();
      if (!sentence) break;
      lost = true;
      const pause = Math.min(2 ** tries, sentence === SILENT ? LONGEST : SHORT);
      server.dispatchEvent(new CustomEvent('lost', { detail: { sentence, pause } }));
      await Promise.race([wait(pause), new Promise((done) => { hurry = done; })]);
    }
    watch = null;
    if (lost) server.dispatchEvent(new Event('found'));
  })();
  return watch;
};

export const tryNow = () => hurry();

/**
 * A request's answer as JSON. With `fields` they are posted as a form.
 * `progress` is told the share that was sent, 0 to 1. Throws Refused, Unreachable or Cancelled.
 */
export const ask = (address, { fields, signal, progress } = {}) => new Promise((done, fail) => {
  const request = new XMLHttpRequest();
  request.open(fields ? 'POST' : 'GET', address);
  request.addEventListener('load', () => {
    let answer = null;
    try { answer = JSON.parse(request.responseText); } catch { /* told below */ }
    if (request.status >= 200 && request.status < 300 && answer) done(answer);
    else fail(new Refused(answer?.error ?? `The server answered with status ${request.status}.`));
  });
  request.addEventListener('error', () => { found(); fail(new Unreachable()); });
  request.addEventListener('abort', () => fail(new Cancelled()));
  if (progress) request.upload.addEventListener('progress', (e) => e.lengthComputable && progress(e.loaded / e.total));
  signal?.addEventListener('abort', () => request.abort());
  let form = null;
  if (fields) {
    form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
  }
  request.send(form);
});

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** A sentence where a file is larger than the server takes; "" where it is not. */
export const tooLarge = (file, limits) => (file.size <= (limits?.upload_bytes ?? Infinity) ? ''
  : `${file.name} has ${megabytes(file.size)}, and this server takes up to ${megabytes(limits.upload_bytes)}.`);

/** Runs one thing at a time: a new one calls off the one before. */
export class Latest {
  #control = null;

  stop() { this.#control?.abort(); }

  /** Gives the signal to `work` and its answer back; null where a newer one, or `stop`, called it off. */
  async run(work) {
    this.stop();
    const control = new AbortController();
    this.#control = control;
    try {
      const answer = await work(control.signal);
      return control.signal.aborted ? null : answer;
    } catch (error) {
      if (control.signal.aborted || error instanceof Cancelled) return null;
      throw error;
    } finally {
      if (this.#control === control) this.#control = null;
    }
  }
}
