// What is in a video: a list of its shots in words, or of its segments by label, to be played and kept.
import { ask, Latest, tooLarge } from './server.js';
import { byId, element, shown } from './markup.js';
import { choose, drop } from './files.js';
import { forms, heads, rowOf } from './shots.js';
import { Labels } from './labels.js';
import { save, stem } from './download.js';

class Video {
  #about;
  #latest = new Latest();
  #file = null;
  #address = '';
  #record = null;
  #labels = null;
  #job = 'describe';
  #until = Infinity;
  #player = byId('video-shown');
  #timer = 0;

  constructor(about) {
    this.#about = about;
    const { describe, recognize } = about.models;
    this.#job = describe ? 'describe' : 'recognize';
    shown(describe !== null && recognize !== null, byId('video-jobs'));
    const take = (file) => this.#take(file);
    choose(byId('video-file'), 'video', take);
    drop(byId('video-screen'), 'video', take, (sentence) => this.#fail(sentence));
    byId('video-cancel').addEventListener('click', () => this.#cancel());
    byId('video-jobs').addEventListener('change', (event) => {
      this.#job = event.target.value;
      if (this.#file) this.#ask();
    });
    byId('video-saves').addEventListener('click', (event) => this.#save(event.target.dataset.form));
    byId('video-list').addEventListener('click', (event) => {
      const row = event.target.closest('tbody tr');
      if (row) this.#play(this.#list[Number(row.dataset.place)]);
    });
    this.#player.addEventListener('timeupdate', () => this.#follow());
    this.#player.addEventListener('error', () => {
      if (!this.#player.getAttribute('src')) return;
      shown(false, this.#player);
      byId('video-unplayable').textContent = 'This browser cannot play this file. The server may read it all the same.';
    });
  }

  get #list() { return this.#record?.shots ?? this.#record?.segments ?? []; }

  #fail(sentence) { byId('video-error').textContent = sentence; }

  #say(sentence) { byId('video-status').textContent = sentence; }

  #take(file) {
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = URL.createObjectURL(file);
    byId('video-unplayable').textContent = '';
    shown(true, this.#player);
    byId('video-screen').classList.add('full');
    byId('video-file').textContent = 'Choose another video';
    this.#player.src = this.#address;
    this.#fail(tooLarge(file, this.#about.limits));
    this.#file = byId('video-error').textContent ? null : file;
    if (this.#file) this.#ask();
    else this.#cancel();
  }

  #cancel() {
    this.#latest.stop();
    this.#working(false);
    this.#say('');
  }

  #working(yes) {
    const hadFocus = document.activeElement === byId('video-cancel');
    shown(yes, byId('video-work'));
    if (hadFocus && !yes) byId('video-file').focus();
    clearInterval(this.#timer);
  }

  async #ask() {
    this.#record = null;
    this.#fail('');
    shown(false, byId('video-list'), byId('video-now'));
    this.#working(true);
    this.#say('Sending the video…');
    const bar = byId('video-progress');
    bar.value = 0;
    const progress = (share) => {
      bar.value = share;
      if (share < 1) return;
      bar.removeAttribute('value');
      this.#say('The server reads the video…');
    };
    try {
      const record = await this.#latest.run((signal) => ask(`/api/${this.#job}`, { fields: { file: this.#file }, signal, progress }));
      if (!record) return;
      this.#record = record;
      this.#show();
    } catch (error) {
      this.#say('');
      this.#fail(error.message);
    }
    this.#working(false);
  }

  #show() {
    const list = this.#list;
    const names = [...new Set(list.map((one) => one.move ?? one.label).filter(Boolean))];
    const known = this.#about.models.recognize?.labels ?? [];
    this.#labels = new Labels([...known, ...names.filter((name) => !known.includes(name))]);
    const words = this.#record.shots ? ['shot', 'shots'] : ['segment', 'segments'];
    const count = `${list.length} ${words[list.length === 1 ? 0 : 1]}`;
    this.#say([`${count}.`, this.#record.warning].filter(Boolean).join(' '));
    byId('video-count').textContent = `${count} of ${this.#file.name}`;
    const table = byId('video-list').querySelector('table');
    table.tHead.replaceChildren(element('tr', '', ...heads(this.#record).map((name) => Object.assign(element('th', '', name), { scope: 'col' }))));
    table.tBodies[0].replaceChildren(...list.map((one, place) => rowOf(one, place, this.#labels)));
    shown(list.length > 0, byId('video-list'));
    this.#follow();
  }

  #play({ start, end }) {
    if (this.#player.hidden) return;
    this.#until = end ?? Infinity;
    this.#player.currentTime = start;
    this.#player.play().catch(() => {});
    this.#player.scrollIntoView({ block: 'nearest' });
  }

  // Stops where the shot that was asked for ends, and shows what is said of the one that is played.
  #follow() {
    const now = this.#player.currentTime;
    if (now >= this.#until && !this.#player.paused) {
      this.#player.pause();
      this.#until = Infinity;
    }
    const current = this.#list.findIndex(({ start, end }) => now >= start && now < (end ?? Infinity));
    for (const row of byId('video-list').querySelectorAll('tbody tr')) {
      if (Number(row.dataset.place) === current) row.setAttribute('aria-current', 'true');
      else row.removeAttribute('aria-current');
    }
    shown(this.#list.length > 0 && !this.#player.hidden, byId('video-now'));
    const { sentence, move, label } = this.#list[current] ?? {};
    byId('video-sentence').textContent = sentence ?? label ?? '…';
    byId('video-label').replaceChildren(...(move && sentence ? [this.#labels.chip(move)] : []));
  }

  #save(form) {
    if (!form) return;
    const { type, text } = forms[form](this.#record);
    save(`${stem(this.#file.name)}.${form}`, type, text);
  }
}

/** Sets the view up. */
export const video = (about) => {
  const { describe } = about.models;
  byId('video-lead').textContent = describe ? 'Where one shot ends and the next begins, and what each shows.' : 'What happens in it, from when to when.';
  if (!describe) byId('video-title').textContent = 'A video, moment by moment';
  new Video(about);
};
