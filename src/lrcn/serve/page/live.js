// Live recognition: a camera or a video goes to the server frame by frame, and what it says is shown as it comes.
import { byId, element, inWords, shown } from './markup.js';
import { choose, drop } from './files.js';
import { Connection } from './connection.js';
import { found, wait } from './server.js';
import { Labels } from './labels.js';
import { Now } from './now.js';
import { Record } from './record.js';
import { Source } from './source.js';
import { Words } from './words.js';

const SIDE = 320;
const FASTEST = 30;
const LONGEST = 30;
const FAREWELL = 5;
const DRAWN_EVERY = 33;
const TOO_LARGE = 1009;
const REFUSED = 1008;

class Live {
  #state = 'off'; // off, on, paused or ending
  #source = new Source(byId('live-video'));
  #now = new Now();
  #record = new Record();
  #words = new Words(this.#source);
  #connection = null;
  #labels = null;
  #session = 0;
  #ending = null;
  #tries = 0;
  #side = SIDE;
  #last = -1;
  #sequence = 0;
  #pace = FASTEST;
  #fresh = true;
  #name = '';
  #limit;
  #tells;

  constructor(about) {
    const model = about.models.recognize;
    this.#limit = about.limits?.live_frame_bytes ?? Infinity;
    this.#labels = new Labels(model.labels);
    byId('live-model').textContent = `${model.labels.length} labels, from the model ${model.name}.`;
    byId('live-labels').append(...model.labels.map((name) => element('li', '', this.#labels.chip(name))));
    byId('live-camera').addEventListener('click', () => this.#start('camera'));
    choose(byId('live-file'), 'video', (file) => this.#start(file));
    drop(byId('live-screen'), 'video', (file) => this.#start(file), (sentence) => this.#fail(sentence));
    byId('live-pause').addEventListener('click', () => (this.#state === 'paused' ? this.#goOn() : this.#pause()));
    byId('live-reset').addEventListener('click', () => this.#reset());
    byId('live-stop').addEventListener('click', () => this.#stop('Stopped.'));
    byId('live-device').addEventListener('change', (event) => this.#change(event.target.value));
    this.#tells = about.models.caption !== null;
    this.#words.on = false;
  }

  #say(sentence) { byId('live-status').textContent = sentence; }

  #fail(sentence) {
    if (byId('live-error').textContent !== sentence) byId('live-error').textContent = sentence;
  }

  async #start(what) {
    if (this.#state !== 'off') await this.#stop('');
    const session = ++this.#session;
    this.#fail('');
    this.#say(what === 'camera' ? 'Waiting for the camera…' : '');
    try {
      await (what === 'camera' ? this.#source.camera() : this.#source.file(what));
    } catch (error) {
      this.#source.stop();
      this.#say('');
      this.#fail(error.message);
      return;
    }
    if (session !== this.#session) return;
    this.#name = what === 'camera' ? 'camera' : what.name;
    this.#fresh = true;
    this.#tries = 0;
    this.#last = -1;
    this.#words.begin();
    this.#show('on');
    byId('live-pause').focus({ preventScroll: true });
    await this.#listCameras();
    this.#connect();
    this.#pump(session);
    this.#draw(session);
  }

  #show(state) {
    this.#state = state;
    const running = state === 'on' || state === 'paused';
    shown(running, byId('live-video'), byId('live-controls'), byId('live-dot'));
    shown(!running, byId('live-invite'));
    byId('live-screen').classList.toggle('full', running);
    if (running) shown(true, byId('live-now'), byId('live-record'));
    shown(this.#tells && !byId('live-record').hidden, byId('live-words'));
    shown(byId('live-now').hidden, byId('live-about'));
    byId('live-pause').textContent = state === 'paused' ? 'Go on' : 'Pause';
    this.#words.on = running;
  }

  async #listCameras() {
    const cameras = this.#source.kind === 'camera' ? await this.#source.cameras() : [];
    const now = this.#source.device;
    byId('live-device').replaceChildren(...cameras.map(({ id, name }) => new Option(name, id, id === now, id === now)));
    shown(cameras.length > 1, byId('live-cameras'));
  }

  #connect() {
    this.#say('Connecting…');
    this.#connection = new Connection({
      ready: (hello) => this.#ready(hello),
      answer: (answer, milliseconds) => this.#take(answer, milliseconds),
      refused: (sentence) => this.#fail(sentence),
      finished: (segments) => this.#record.finish(segments),
      closed: (code, reason) => this.#lost(code, reason),
    });
  }

  #ready({ labels, rate }) {
    // Two frames for each that the model asks for, so that the one it takes is never old.
    this.#pace = Math.min(2 * (rate ?? FASTEST), FASTEST);
    if (labels.join('\n') !== this.#labels.names.join('\n')) {
      this.#labels = new Labels(labels);
      this.#fresh = true;
    }
    if (this.#fresh) {
      this.#now.begin(this.#labels);
      this.#record.begin(this.#labels, this.#name);
    }
    this.#fresh = false;
    this.#fail('');
    this.#say(this.#state === 'paused' ? 'Paused.' : 'Live.');
    if (this.#state === 'on') this.#source.play();
  }

  #take(answer, milliseconds) {
    this.#tries = 0;
    this.#fail('');
    this.#now.show(answer, milliseconds);
    this.#record.add(answer);
  }

  async #pump(session) {
    while (session === this.#session) {
      const began = performance.now();
      if (this.#state === 'on' && this.#source.over) {
        await this.#stop(this.#source.kind === 'file' ? 'The video has ended.' : 'The camera has gone.');
        return;
      }
      if (this.#state === 'on' && this.#connection?.free) await this.#sendOne();
      const pause = 1 / this.#pace - (performance.now() - began) / 1000;
      await wait(Math.max(pause, 0.004));
    }
  }

  async #sendOne() {
    const connection = this.#connection;
    const sequence = this.#sequence;
    const time = this.#source.time;
    if (time <= this.#last) return;
    const picture = await this.#source.picture(this.#side);
    // Meanwhile all may have begun anew, by another clock.
    if (!picture || sequence !== this.#sequence || connection !== this.#connection || !connection.free) return;
    if (picture.size + 8 > this.#limit) {
      this.#side = Math.round(this.#side * 0.8);
      return;
    }
    this.#last = time;
    await connection.send(time, picture);
  }

  #draw(session) {
    const calm = matchMedia('(prefers-reduced-motion: reduce)');
    let drawn = 0;
    const again = (now) => {
      if (session !== this.#session || this.#state === 'off') return;
      if (this.#state === 'on' && this.#last >= 0 && now - drawn >= DRAWN_EVERY) {
        drawn = now;
        this.#record.draw(calm.matches ? this.#last : Math.max(this.#source.time, this.#last));
      }
      requestAnimationFrame(again);
    };
    requestAnimationFrame(again);
  }

  async #lost(code, reason) {
    if (this.#state === 'off' || this.#state === 'ending') return;
    const session = this.#session;
    this.#connection = null;
    this.#record.cut();
    if (code === REFUSED) {
      await this.#stop('');
      this.#fail(reason || 'The server closed the connection.');
      return;
    }
    if (code === TOO_LARGE) this.#side = Math.round(this.#side * 0.7);
    if (this.#state === 'paused') return; // made anew when it goes on
    if (this.#source.kind === 'file') this.#source.pause();
    const pause = Math.min(2 ** this.#tries++ / 2, LONGEST);
    this.#say(`${reason || 'The connection was lost.'} Trying again${pause < 1 ? '' : ` in ${inWords(pause)}`}.`);
    await found();
    await wait(pause);
    if (session === this.#session && this.#state === 'on' && !this.#connection) this.#connect();
  }

  #pause() {
    this.#source.pause();
    this.#show('paused');
    this.#say('Paused.');
  }

  #goOn() {
    this.#show('on');
    if (!this.#connection) {
      this.#connect();
      return;
    }
    this.#source.play();
    this.#say('Live.');
  }

  #reset() {
    this.#connection?.reset();
    if (this.#source.kind === 'camera') this.#source.restart();
    this.#last = -1;
    this.#sequence += 1;
    this.#now.begin(this.#labels);
    this.#record.begin(this.#labels, this.#name);
    this.#say(this.#state === 'paused' ? 'Paused.' : 'Begun anew.');
  }

  async #change(device) {
    this.#fail('');
    try {
      await this.#source.camera(device);
      this.#connection?.reset();
      this.#record.cut();
    } catch (error) {
      this.#fail(error.message);
    }
  }

  async #stop(sentence) {
    this.#ending ??= this.#end(sentence).finally(() => { this.#ending = null; });
    await this.#ending;
  }

  // The server still has the last segments: they are waited for, though not for long.
  async #end(sentence) {
    const connection = this.#connection;
    const hadFocus = byId('live-controls').contains(document.activeElement);
    this.#connection = null;
    this.#show('ending');
    this.#source.stop();
    this.#session += 1;
    if (hadFocus) byId('live-camera').focus({ preventScroll: true });
    if (connection?.open) {
      connection.finish();
      for (let waited = 0; connection.open && waited < FAREWELL; waited += 0.05) await wait(0.05);
    }
    connection?.close();
    this.#state = 'off';
    const count = this.#record.count;
    if (sentence) this.#say(`${sentence} ${count} ${count === 1 ? 'segment' : 'segments'}.`);
  }
}

export const live = (about) => { new Live(about); };
