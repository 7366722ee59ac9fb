// What the camera sees, in a sentence: now, or every few seconds.
import { ask } from './server.js';
import { byId, clock, element } from './markup.js';

const EVERY = 4;
const SIDE = 640;

export class Words {
  #source;
  #busy = false;
  #next = 0;
  #on = false;

  constructor(source) {
    this.#source = source;
    byId('live-tell').addEventListener('click', () => this.#tell());
    byId('live-often').addEventListener('change', () => { this.#next = 0; });
    setInterval(() => {
      if (this.#on && byId('live-often').checked && performance.now() >= this.#next) this.#tell();
    }, 250);
  }

  /** Whether there is a moving picture to be told about. */
  set on(yes) {
    this.#on = yes;
    byId('live-tell').disabled = !yes;
  }

  /** Empties the card: something else is watched. */
  begin() {
    byId('live-sentence').classList.add('quiet');
    byId('live-sentence').textContent = 'What is seen, in a sentence.';
    this.#fail('');
  }

  // The same sentence again, every few seconds, would be read aloud each time.
  #fail(sentence) {
    const place = byId('live-words-error');
    if (place.textContent !== sentence) place.textContent = sentence;
  }

  async #tell() {
    if (this.#busy || !this.#on) return;
    this.#busy = true;
    const sentence = byId('live-sentence');
    sentence.classList.add('busy');
    try {
      const time = this.#source.time;
      const file = await this.#source.picture(SIDE, 0.85);
      if (!file) return;
      const { caption } = await ask('/api/caption', { fields: { file: new File([file], 'frame.jpg') } });
      this.#fail('');
      sentence.classList.remove('quiet');
      sentence.replaceChildren(caption, ' ', element('span', 'when', clock(time)));
    } catch (error) {
      this.#fail(error.message);
    } finally {
      sentence.classList.remove('busy');
      this.#busy = false;
      this.#next = performance.now() + EVERY * 1000;
    }
  }
}
